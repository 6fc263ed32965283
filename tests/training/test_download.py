import errno
import gzip
import hashlib
import io
import os
import re
import socket
import struct
import tarfile
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from noisescale import InputError
from noisescale.record import sole_user
from noisescale.training.data import cifar, mnist
from noisescale.training.data import download as module
from noisescale.training.data.download import SOURCES, DownloadError, Source, download

# Several chunks, the last of them not whole, no two alike.
CONTENT = np.random.default_rng(3).bytes(5 * module.CHUNK + 1234)
SIZE = len(CONTENT)
MD5 = hashlib.md5(CONTENT).hexdigest()
CUT = 2 * module.CHUNK + 77


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; every peculiarity is a field of the server."""

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append((self.path, wanted))
        content = server.files.get(self.path.lstrip("/"))
        if content is None:
            self.send_error(404)
            return
        start, code = 0, 200
        if wanted and server.ranges:
            start, code = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]), 206
            if start >= len(content):
                self.send_error(416)
                return
            start = max(0, start + server.shift)
        self.send_response(code)
        if code == 206:
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        if server.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = len(content) if server.cut is None else server.cut
        server.cut = None
        self.wfile.write(content[start:stop])

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(**files):
    """A server on this machine that supports ranges and tells lengths."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.asked, server.cut, server.shift = files, [], None, 0
        server.ranges = server.lengths = True
        server.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with serving(file=CONTENT) as server:
        yield server


def source(*urls, md5=MD5, path="file"):
    return {"set": (Source(path, md5, tuple(f"{url}file" for url in urls)),)}


class Progress(list):
    """Every report; `check` holds them to one file from somewhere to its end."""

    def __call__(self, *report):
        self.append(report)

    def check(self, begin, *, total=SIZE):
        files, done, totals = zip(*self, strict=True)
        assert set(files) == {"file"} and set(totals[:-1]) <= {total}
        assert list(done) == sorted(done)
        assert done[0] == begin and self[-1] == ("file", SIZE, SIZE)


def remembering(seen):
    """urlopen that keeps every answer, errors as well."""

    def opener(request, timeout):
        try:
            seen.append(urllib.request.urlopen(request, timeout=timeout))
            return seen[-1]
        except urllib.error.HTTPError as error:
            seen.append(error.fp)
            raise

    return opener


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def failing(folder, sources, *words, error=DownloadError, **options):
    with pytest.raises(error) as caught:
        download("set", folder, sources=sources, **options)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text
    return text


def test_a_file(server, tmp_path):
    progress = Progress()
    folder = tmp_path / "new" / "folder"
    assert download("set", str(folder), report=progress, sources=source(server.url)) == folder
    assert names(folder) == ["file"] and (folder / "file").read_bytes() == CONTENT
    assert server.asked == [("/file", None)]
    progress.check(0)
    assert len(progress) > 5


def test_what_is_reported_is_on_disk(server, tmp_path):
    def report(file, done, total):
        part = tmp_path / "file.part"
        sizes.append((done, part.stat().st_size if part.exists() else 0))

    sizes = []
    download("set", tmp_path, report=report, sources=source(server.url))
    assert len(sizes) > 5 and all(done == size for done, size in sizes)


def test_a_file_that_is_there_is_not_asked_for_again(server, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    progress = Progress()
    download("set", tmp_path, report=progress, sources=source(server.url))
    assert server.asked == [] and progress == [("file", SIZE, SIZE)]


def test_another_file_of_that_name_stays_until_the_right_one_is_there(server, tmp_path):
    (tmp_path / "file").write_bytes(b"another")
    server.cut = CUT
    failing(tmp_path, source(server.url))
    assert (tmp_path / "file").read_bytes() == b"another"
    download("set", tmp_path, sources=source(server.url))
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_is_cut(server, tmp_path, ranges):
    server.cut, server.ranges = CUT, ranges
    failing(
        tmp_path,
        source(server.url),
        f"the connection ended after {CUT:,} of {SIZE:,} bytes",
        f"{CUT:,} bytes are kept",
        server.url,
    )
    assert names(tmp_path) == ["file.part"]
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:CUT]
    progress = Progress()
    download("set", tmp_path, report=progress, sources=source(server.url))
    assert server.asked == [("/file", None), ("/file", f"bytes={CUT}-")]
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == CONTENT
    progress.check(CUT if ranges else 0)


def test_cut_again_and_again(server, tmp_path):
    for cut in (10, module.CHUNK, CUT):
        server.cut = cut
        failing(tmp_path, source(server.url), f"{cut:,} bytes are kept")
    download("set", tmp_path, sources=source(server.url))
    assert [wanted for _, wanted in server.asked] == [
        None, "bytes=10-", f"bytes={module.CHUNK}-", f"bytes={CUT}-",
    ]  # fmt: skip
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("stop", [KeyboardInterrupt, BrokenPipeError])
def test_stopped_by_its_caller(server, tmp_path, stop):
    def report(file, done, total):
        if done > CUT:
            seen.append(done)
            raise stop

    seen = []
    with pytest.raises(stop):
        download("set", tmp_path, report=report, sources=source(server.url))
    assert names(tmp_path) == ["file.part"]
    assert (tmp_path / "file.part").read_bytes() == CONTENT[: seen[0]]
    download("set", tmp_path, sources=source(server.url))
    assert server.asked[1:] == [("/file", f"bytes={seen[0]}-")]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    progress = Progress()
    download("set", tmp_path, report=progress, sources=source(server.url))
    assert server.asked == [] and names(tmp_path) == ["file"]
    progress.check(SIZE)


@pytest.mark.parametrize("size", [SIZE, SIZE + 5])
def test_a_part_that_is_too_long_begins_anew(server, tmp_path, size):
    (tmp_path / "file.part").write_bytes(bytes(size))
    progress, seen = Progress(), []
    options = {"report": progress, "opener": remembering(seen)}
    download("set", tmp_path, sources=source(server.url), **options)
    assert len(seen) == 2 and all(answer.isclosed() for answer in seen)
    assert server.asked == [("/file", f"bytes={size}-"), ("/file", None)]
    assert (tmp_path / "file").read_bytes() == CONTENT
    progress.check(0)


def test_a_server_that_sends_another_range(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:CUT])
    server.shift, seen = 1, []
    download("set", tmp_path, sources=source(server.url), opener=remembering(seen))
    assert len(seen) == 2 and all(answer.isclosed() for answer in seen)
    assert server.asked == [("/file", f"bytes={CUT}-"), ("/file", None)]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_of_something_else(server, tmp_path):
    """The checksum tells, and the next call begins anew."""
    (tmp_path / "file.part").write_bytes(bytes(CUT))
    failing(tmp_path, source(server.url), "checksum", "removed", "try again")
    assert names(tmp_path) == []
    download("set", tmp_path, sources=source(server.url))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_wrong_checksum(server, tmp_path):
    md5 = "0" * 32
    failing(tmp_path, source(server.url, md5=md5), MD5, md5, "removed", server.url, str(tmp_path))
    assert names(tmp_path) == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_that_does_not_tell_the_length(server, tmp_path, ranges):
    (tmp_path / "file.part").write_bytes(CONTENT[:CUT])
    server.lengths, server.ranges = False, ranges
    progress = Progress()
    download("set", tmp_path, report=progress, sources=source(server.url))
    assert (tmp_path / "file").read_bytes() == CONTENT
    progress.check(CUT if ranges else 0, total=None)


def test_a_file_that_is_not_there(server, tmp_path):
    del server.files["file"]
    failing(tmp_path, source(server.url), "404", f"{server.url}file", "put the file into")
    assert names(tmp_path) == []
    (tmp_path / "file.part").write_bytes(CONTENT[:CUT])
    failing(tmp_path, source(server.url), "404", f"{CUT:,} bytes are kept")
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:CUT]


def closed():
    """An address where nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}/"


def test_no_server(tmp_path):
    failing(tmp_path, source(closed()), "refused", "put the file into")
    assert names(tmp_path) == []


def test_a_server_that_is_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        failing(tmp_path, source(f"http://127.0.0.1:{silent.getsockname()[1]}/"), "timed out")


def answering(text, event=None, rest=b""):
    """A server that answers `text`, waits for `event`, sends the rest and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        with listener, listener.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(text)
            if event is not None:
                event.wait(20)
            connection.sendall(rest)

    thread = threading.Thread(target=answer)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/", thread


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"", "closed connection"),
        (b"SSH-2.0-server\r\n", "SSH-2.0-server"),
        (b"HTTP/1.1 206 OK\r\nContent-Range: bytes 5-9/10\r\n\r\nabcde", "nobody asked for"),
        (b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-4/10\r\n\r\nabcde", "nobody asked for"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc", "checksum"),
    ],
)
def test_answers_that_make_no_sense(tmp_path, text, word):
    url, thread = answering(text)
    failing(tmp_path, source(url), word)
    thread.join()
    assert "file" not in names(tmp_path)


HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n".encode()


def test_a_slow_line(tmp_path):
    """What has arrived is written and reported before the next byte comes."""

    def report(file, done, total):
        seen.append(done)
        if done == 100:
            sizes.append((tmp_path / "file.part").stat().st_size)
            event.set()

    seen, sizes, event = [], [], threading.Event()
    url, thread = answering(HEAD + CONTENT[:100], event, CONTENT[100:])
    download("set", tmp_path, report=report, sources=source(url))
    thread.join()
    assert seen[:2] == [0, 100] and sizes == [100]


def test_a_server_that_keeps_the_connection(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 5)
    event = threading.Event()
    url, thread = answering(HEAD + CONTENT, event)
    try:
        download("set", tmp_path, sources=source(url))
    finally:
        event.set()
        thread.join()
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["404", "down", "content"])
def test_a_mirror(server, tmp_path, fault):
    with serving(file=CONTENT[:-1] + b"?") as first:
        if fault == "404":
            first.files.clear()
        url = closed() if fault == "down" else first.url
        download("set", tmp_path, sources=source(url, server.url))
    assert (tmp_path / "file").read_bytes() == CONTENT and names(tmp_path) == ["file"]
    assert server.asked == [("/file", None)]


def test_a_mirror_goes_on_where_the_first_was_cut(server, tmp_path):
    progress = Progress()
    with serving(file=CONTENT) as first:
        first.cut = CUT
        download("set", tmp_path, report=progress, sources=source(first.url, server.url))
    assert server.asked == [("/file", f"bytes={CUT}-")]
    assert (tmp_path / "file").read_bytes() == CONTENT
    progress.check(0)


def test_no_mirror_left(server, tmp_path):
    down = closed()
    server.files.clear()
    failing(tmp_path, source(down, server.url), down, "refused", server.url, "404")


@pytest.mark.parametrize("where", ["part", "rename"])
def test_a_full_disk(server, tmp_path, monkeypatch, where):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def broken(*arguments):
        raise full

    write = module._write

    def write_two(out, chunk):
        if out.tell() > CUT:
            raise full
        write(out, chunk)

    if where == "part":
        monkeypatch.setattr(module, "_write", write_two)
    else:
        monkeypatch.setattr(os, "replace", broken)
    failing(tmp_path, source(server.url), "cannot write", "No space left", "goes on")
    assert names(tmp_path) == ["file.part"]
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    download("set", tmp_path, sources=source(server.url))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_file_that_takes_less_than_it_is_given():
    class Slow:
        taken = b""

        def write(self, data):
            self.taken += bytes(data[:3])
            return len(data[:3])

    slow = Slow()
    module._write(slow, b"0123456789")
    assert slow.taken == b"0123456789"


def test_bad_names_and_folders(tmp_path):
    with pytest.raises(InputError, match="did you mean 'cifar10'"):
        download("cifar-10", tmp_path)
    (tmp_path / "taken").write_text("")
    sources = source("http://127.0.0.1:1/")
    failing(tmp_path / "taken", sources, "cannot make the folder", error=InputError)
    failing(tmp_path / "taken" / "in", sources, "cannot make the folder", error=InputError)
    for file in ("file", "file.part"):
        folder = tmp_path / f"for {file}"
        (folder / file).mkdir(parents=True)
        failing(folder, sources, f"{file}' is not a file", error=InputError)


def test_two_at_once(server, tmp_path):
    with sole_user(tmp_path):
        failing(tmp_path, source(server.url), "another process is downloading", str(tmp_path))
    assert server.asked == []
    download("set", tmp_path, sources=source(server.url))


def test_how_the_opener_is_called(tmp_path):
    def opener(request, timeout):
        seen.append((request.full_url, request.get_header("Range"), timeout))
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    seen = []
    failing(tmp_path, {"set": SOURCES["mnist"]}, "Name or service not known", opener=opener)
    assert seen == [(url, None, 30) for url in SOURCES["mnist"][0].urls]


def test_the_published_files():
    assert list(SOURCES) == ["mnist", "cifar10", "cifar100"]
    every = [one for files in SOURCES.values() for one in files]
    assert len({one.md5 for one in every}) == len(every) == 6
    for one in every:
        assert re.fullmatch(r"[0-9a-f]{32}", one.md5)
        for url in one.urls:
            assert url.startswith("https://") and url.endswith(one.path.split("/")[-1])
    for one in SOURCES["mnist"]:
        assert len({url.split("/")[2] for url in one.urls}) >= 2


def idx(array):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def test_the_loaders_find_what_lands(tmp_path):
    """Every data set from a server of small files under the published names."""
    contents = {}
    for split in mnist.FILES.values():
        for file, array in zip(split, (np.ones((2, 28, 28)), np.arange(2)), strict=True):
            contents[f"{file}.gz"] = gzip.compress(idx(array))
    for form in cifar.FORMATS.values():
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w:gz") as archive:
            for file in form.files:
                member = tarfile.TarInfo(f"{form.folder}/{file}")
                member.size = len(form.label_values) + 3072
                archive.addfile(member, io.BytesIO(bytes(member.size)))
        contents[form.archive] = raw.getvalue()
    with serving(**contents) as server:
        sources = {
            name: tuple(
                Source(
                    one.path,
                    hashlib.md5(contents[one.path.split("/")[-1]]).hexdigest(),
                    (server.url + one.urls[0].split("/")[-1],),
                )
                for one in files
            )
            for name, files in SOURCES.items()
        }
        for name in SOURCES:
            assert download(name, tmp_path, sources=sources) == tmp_path
    assert len(mnist.load_mnist(tmp_path)[0][1]) == 2
    assert len(cifar.load_cifar("cifar10", tmp_path)[0][1]) == 5
    assert len(cifar.load_cifar("cifar100", tmp_path)[0][1]) == 1
    in_mnist = [f"mnist/{file}.gz" for split in mnist.FILES.values() for file in split]
    archives = [form.archive for form in cifar.FORMATS.values()]
    assert names(tmp_path) == sorted([*in_mnist, *archives])
