"""Several processes that train one run: joined, of one mind about the clock, ending together.

Every process runs the same program on the same data; JAX divides the work. Only the first one
writes the run's folder: the others keep theirs in a temporary one, filled from the first's at the
start. What depends on a clock (how long a compiled call shall be, when to save, whether to stop) is
agreed on after every call.
"""

import io
import os
import socket
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from noisescale.errors import InputError, shown

# To find each other at the start, and for JAX's own error to become our message.
PATIENCE_SECONDS, GRACE_SECONDS = 60.0, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Which of several processes this is.

    Args:
        coordinator: "HOST:PORT" of process 0; the port after it is used as well.
        processes: how many.
        process: the number of this one, from 0.
    """

    coordinator: str
    processes: int
    process: int

    def __post_init__(self) -> None:
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65535:
            raise InputError(
                f"coordinator={shown(self.coordinator)}: give HOST:PORT of process 0, the port "
                "from 1 to 65534"
            )
        if self.processes < 2:
            raise InputError(f"processes={self.processes}: there must be two or more")
        if not 0 <= self.process < self.processes:
            raise InputError(
                f"process={self.process}: with {self.processes} it is from 0 to "
                f"{self.processes - 1}"
            )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the coordinator."""
        host, _, port = self.coordinator.rpartition(":")
        return host, int(port)


@contextmanager
def joined(job: Job | None) -> Iterator[None]:
    """This process as one of a job's, until it is over; None: by itself.

    If another process ends before that, this one says so in one line and ends with exit code 1:
    whatever it waits for would not come. The run goes on from its last checkpoint.
    """
    if job is None:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    host, port = job.address
    leave = _watch(job, host, port + 1)
    with _own_output():
        yield from _member(job, leave)


def _member(job: Job, leave: Callable[[], None]) -> Iterator[None]:
    # Otherwise SIGTERM is swallowed, and the coordinator listens on every network.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        job.coordinator,
        job.processes,
        job.process,
        coordinator_bind_address=job.coordinator if job.process == 0 else None,
        initialization_timeout=int(PATIENCE_SECONDS),
    )
    try:
        yield
    except jax.errors.JaxRuntimeError:
        # A connection that broke: the watch is about to say whose.
        time.sleep(GRACE_SECONDS)
        raise
    except SystemExit:
        # All have stopped, with a checkpoint saved.
        leave()
        jax.distributed.shutdown()
        raise
    leave()
    jax.distributed.shutdown()


@contextmanager
def _own_output() -> Iterator[None]:
    """Lines that libraries print when processes meet go nowhere: standard output is for results."""
    sys.stdout.flush()
    kept, python = os.dup(1), sys.stdout
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    sys.stdout = os.fdopen(os.dup(kept), "w", encoding=python.encoding, errors=python.errors)
    try:
        yield
    finally:
        sys.stdout.close()
        sys.stdout = python
        os.dup2(kept, 1)
        os.close(kept)


def _end(reason: str) -> None:
    """One line, and out at once: whatever waits for the lost process would wait for long."""
    line = f"noisescale: error: {reason}: start all processes again, the run goes on from its last "
    os.write(2, f"{line}checkpoint\n".encode())
    os._exit(1)


def _watch(job: Job, host: str, port: int) -> Callable[[], None]:
    """A connection between process 0 and every other that breaks when either ends.

    Returns:
        what tells the others that this process is done.
    """
    over = threading.Event()

    def listen(connection: socket.socket, whose: int) -> None:
        try:
            while heard := connection.recv(16):
                if b"." in heard:
                    return
        except OSError:
            pass
        if not over.is_set():
            _end(f"process {whose} of {job.processes} has ended")

    connections = []
    try:
        if job.process == 0:
            with socket.create_server((host, port)) as server:
                server.settimeout(PATIENCE_SECONDS)
                for _ in range(job.processes - 1):
                    connection, _ = server.accept()
                    connection.settimeout(None)
                    connections.append((connection, int.from_bytes(connection.recv(4), "big")))
        else:
            connection = _connected(host, port)
            connection.sendall(job.process.to_bytes(4, "big"))
            connections.append((connection, 0))
    except OSError as error:
        raise InputError(
            f"process {job.process} of {job.processes} did not meet the others at {host}:{port} "
            f"({error.strerror or 'no answer'}): start all of them, with the same --coordinator"
        ) from None
    for connection, whose in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        threading.Thread(target=listen, args=(connection, whose), daemon=True).start()

    def leave() -> None:
        over.set()
        for connection, _ in connections:
            try:
                connection.sendall(b".")
            except OSError:
                pass

    return leave


def _connected(host: str, port: int) -> socket.socket:
    limit = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            connection = socket.create_connection((host, port), timeout=5)
            connection.settimeout(None)
            return connection
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.1)


def together(values: list[float]) -> list[float]:
    """The largest of every value among all processes."""
    if jax.process_count() == 1:
        return values
    from jax.experimental import multihost_utils

    found = multihost_utils.process_allgather(np.array(values, np.float32))
    return [float(v) for v in np.max(np.asarray(found), axis=0)]


def is_first() -> bool:
    """Whether this process writes what is kept."""
    return jax.process_index() == 0


@contextmanager
def own_folder(root: Path) -> Iterator[Path]:
    """The folder itself in the first process, a temporary one in the others."""
    with ExitStack() as stack:
        if is_first():
            yield root
        else:
            yield Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="noisescale-")))


def copy_from_first(folder: Path) -> None:
    """Fill the folder with the files of the first process's."""
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    packed = io.BytesIO()
    if is_first() and folder.is_dir():
        with zipfile.ZipFile(packed, "w") as archive:
            for file in sorted(path for path in folder.iterdir() if path.is_file()):
                archive.write(file, file.name)
    content = np.frombuffer(packed.getvalue(), np.uint8)
    # In two parts, as float32 holds them exactly; only the first process has any.
    high, low = together([float(part) for part in divmod(len(content), 1 << 20)])
    size = int(high) * (1 << 20) + int(low)
    whole = np.zeros(size, np.uint8)
    whole[: len(content)] = content
    whole = np.asarray(multihost_utils.broadcast_one_to_all(whole))
    if not is_first() and size:
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(io.BytesIO(whole.tobytes())) as archive:
            archive.extractall(folder)
