"""One line of a formula changed at a time: does the test that is named for it turn red?

    python tests/mutants/run.py          all of table.toml; the result goes to last-run.txt
    python tests/mutants/run.py ID ...   some of them

Only copies of the package and its tests are changed. Every named test first has to pass on an
unchanged copy, beside the others of its file. A mutant is caught if that test, run alone, then
fails: not if it cannot be collected, not by a mistake of the mutant itself (a name or an import
that does not exist).

Hooks at the end: pytest loads this file as a plugin and reports what was run, and from where.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LAST_RUN = HERE / "last-run.txt"
LEAST = 40
AT_ONCE = 2
SECONDS_EACH = 240
# pytest's exit code for a test that does not exist.
NOT_FOUND = 4
# A mutant that fails in such a way is badly written, and a test has shown nothing.
NO_FAILURE = ("NameError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError")


@dataclass(frozen=True)
class Mutant:
    """A change of one place, what a user would get wrong by it, and the test that must see it."""

    id: str
    file: str
    find: str
    replace: str
    why: str
    test: str


def read_table() -> list[Mutant]:
    """All mutants; ids and changes are unique."""
    table = tomllib.loads((HERE / "table.toml").read_text("utf-8"))
    found = [Mutant(**entry) for entry in table["mutant"]]
    for what in ("id", "change"):
        keys = [m.id if what == "id" else (m.file, m.find, m.replace) for m in found]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            sys.exit(f"mutants: the same {what} twice: {sorted(twice)}")
    return found


def copied(source: Path, target: Path) -> Path:
    """A copy of what the tests need, with the times of the files."""
    for name in ("noisescale", "tests"):
        shutil.copytree(source / name, target / name)
    shutil.copy2(source / "pyproject.toml", target)
    return target


def mutate(folder: Path, mutant: Mutant) -> str:
    """Change the file in a copy; what is wrong with the mutant, or nothing."""
    path = folder / mutant.file
    text = path.read_text()
    if (times := text.count(mutant.find)) != 1:
        return f"its text occurs {times} times in {mutant.file}"
    changed = text.replace(mutant.find, mutant.replace)
    if changed == text:
        return "it changes nothing"
    try:
        compile(changed, mutant.file, "exec")
    except SyntaxError as error:
        return f"it does not compile: {error}"
    path.write_text(changed)
    # Compiled files go by the time in whole seconds and the size, which may both be the same.
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
    return ""


def run_tests(folder: Path, *tests: str) -> dict:
    """pytest on tests in a copy: its exit code and what the hooks below have written."""
    report = folder / "report.json"
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "CI": "true",  # hypothesis draws the same examples every time, see conftest.py
        "MUTANT_REPORT": str(report),
        # Most programs are the same in every copy.
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
    if len(tests) == 1:
        command.append("-x")
    nothing = {"code": None, "strangers": [], "loaded": [], "failures": {}, "passed": []}
    try:
        done = subprocess.run(
            [*command, "-p", "tests.mutants.run", *tests],
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=SECONDS_EACH,
        )
    except subprocess.TimeoutExpired:
        return nothing
    found = json.loads(report.read_text()) if report.exists() else {}
    return nothing | found | {"code": done.returncode}


def _is(ran: str, test: str) -> bool:
    return ran == test or ran.startswith(f"{test}[")  # a case of it


def fail_unchanged(clean: Path, scratch: Path, tests: list[str]) -> dict[str, str]:
    """The tests of one file that do not pass on an unchanged copy, and why."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        result = run_tests(copied(clean, Path(name)), *tests)
    if result["code"] == NOT_FOUND and len(tests) > 1:  # one is missing, and none was run
        alone = [fail_unchanged(clean, scratch, [test]) for test in tests]
        return {test: why for found in alone for test, why in found.items()}
    broken = {}
    for test in tests:
        failures = [why for ran, why in result["failures"].items() if _is(ran, test)]
        if result["strangers"]:
            broken[test] = f"imported from elsewhere: {result['strangers'][0]}"
        elif failures:
            broken[test] = f"{test} fails unchanged: {failures[0].partition(chr(10))[0]}"
        elif not any(_is(ran, test) for ran in result["passed"]):
            broken[test] = f"{test} does not run unchanged (exit code {result['code']})"
    return broken


def survives(clean: Path, scratch: Path, mutant: Mutant) -> str:
    """Why a mutant is not caught, or nothing."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = copied(clean, Path(name))
        if wrong := mutate(folder, mutant):
            return wrong
        result = run_tests(folder, mutant.test)
    if result["code"] is None:
        return f"the test ran for more than {SECONDS_EACH} s"
    if result["strangers"]:
        return f"imported from elsewhere: {result['strangers'][0]}"
    if mutant.file not in result["loaded"]:
        return f"the test does not load {mutant.file}"
    if result["code"] == 0:
        return "SURVIVED: the test passes"
    if result["code"] != 1 or not result["failures"]:
        return f"no failure of the test itself (exit code {result['code']})"
    if bad := [f for f in result["failures"].values() if f.startswith(NO_FAILURE)]:
        return f"badly written: {bad[0]}"
    return ""


def state() -> str:
    """The commit, and whether the package or its tests have changed since."""

    def git(*arguments: str) -> subprocess.CompletedProcess:
        command = ["git", "--no-optional-locks", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    commit = git("rev-parse", "--short", "HEAD").stdout.strip() or "unknown"
    same = git("diff", "--quiet", "HEAD", "--", "noisescale", "tests").returncode == 0
    return f"commit {commit}" + ("" if same else " with changes")


def main(wanted: list[str]) -> int:
    """Run the table or the named part of it; 0 if every mutant is caught."""
    table, begin, where = read_table(), time.monotonic(), state()
    if unknown := sorted(set(wanted) - {m.id for m in table}):
        sys.exit(f"mutants: not in the table: {', '.join(unknown)}")
    chosen = [m for m in table if not wanted or m.id in wanted]
    tests: dict[str, list[str]] = {}
    for test in dict.fromkeys(m.test for m in chosen):
        tests.setdefault(test.partition("::")[0], []).append(test)
    lines, caught = [], 0
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(AT_ONCE) as pool:
        scratch = Path(name)
        (scratch / "clean").mkdir()
        clean = copied(ROOT, scratch / "clean")
        for folder in clean.rglob("__pycache__"):
            shutil.rmtree(folder)
        # Compiled once here, read by every copy.
        folders = [clean / "noisescale", clean / "tests"]
        subprocess.run([sys.executable, "-m", "compileall", "-q", *folders], check=True)
        print(f"{len(chosen)} mutants; first their tests on the unchanged copy", flush=True)
        broken: dict[str, str] = {}
        for found in pool.map(lambda of: fail_unchanged(clean, scratch, of), tests.values()):
            broken |= found
        results = pool.map(
            lambda m: broken.get(m.test) or survives(clean, scratch, m),
            chosen,
        )
        for number, (mutant, reason) in enumerate(zip(chosen, results, strict=True), 1):
            caught += not reason
            lines.append(f"{'red ' if not reason else 'FAIL'} {mutant.id}  {reason or mutant.test}")
            print(f"[{number:3}/{len(chosen)}] {lines[-1]}", flush=True)
    summary = (
        f"mutants: {caught} of {len(chosen)} turned their test red "
        f"({date.today()}, {where}, {time.monotonic() - begin:.0f} seconds)"
    )
    if not wanted:
        if len(table) < LEAST:
            summary += f"; the table has fewer than {LEAST}"
        LAST_RUN.write_text("\n".join([summary, "", *lines]) + "\n")
    print(summary)
    return 0 if caught == len(chosen) and (wanted or len(table) >= LEAST) else 1


# Hooks of pytest: what the tests did, for run_tests.

_seen: dict = {"failures": {}, "passed": []}


def pytest_runtest_logreport(report) -> None:
    """A failure in the test itself, not before or after it."""
    if report.when == "call" and report.passed:
        _seen["passed"].append(report.nodeid)
    if report.when == "call" and report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        _seen["failures"][report.nodeid] = str(crash.message if crash else report.longrepr)


def pytest_sessionfinish(session) -> None:
    """Which modules of the package were loaded, and those that are not the copy's."""
    root = Path(os.environ["PYTHONPATH"])
    paths = [
        Path(module.__file__).resolve()
        for name, module in list(sys.modules.items())
        if name.split(".")[0] == "noisescale" and getattr(module, "__file__", None)
    ]
    own = [path for path in paths if path.is_relative_to(root.resolve())]
    _seen["loaded"] = [path.relative_to(root.resolve()).as_posix() for path in own]
    _seen["strangers"] = [str(path) for path in paths if path not in own]
    Path(os.environ["MUTANT_REPORT"]).write_text(json.dumps(_seen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
