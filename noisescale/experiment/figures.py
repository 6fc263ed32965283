"""The figures and tables of a checkout, made again from its committed results.

A checkout has experiments/STUDY/tables.py with `readmes() -> {path: text}`, every README of the
study as its results give it, and paper_figs/NAME.py with `main(folder)`, which draws into a folder.
"""

import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisescale.errors import InputError, shown, unknown_name
from noisescale.record import write_text

FIGURES, STUDIES = "paper_figs", "experiments"
_BLOCK = re.compile(r"<!-- generated: ([a-z0-9 -]+) -->\n.*?<!-- end -->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Source:
    """What is drawn and tabulated under one name.

    Args:
        figures: the script that draws; None where there is none.
        tables: the script that makes the tables; None where there is none.
    """

    name: str
    figures: Path | None
    tables: Path | None


def checkout(start: Path) -> Path:
    """The folder, `start` or one above it, that holds the scripts and the results.

    Raises:
        InputError: there is none.
    """
    here = start.resolve()
    for folder in (here, *here.parents):
        if (folder / FIGURES).is_dir() and (folder / STUDIES).is_dir():
            return folder
    raise InputError(
        f"no checkout of noisescale at or above {shown(str(start))}: figures are drawn from the "
        f"results committed there; go there, or name it with --root"
    )


def sources(root: Path) -> dict[str, Source]:
    """Everything that a checkout can draw or tabulate, by name."""
    figures = {path.stem: path for path in root.glob(f"{FIGURES}/*.py")}
    tables = {path.parent.name: path for path in root.glob(f"{STUDIES}/*/tables.py")}
    names = sorted({*figures, *tables})
    return {name: Source(name, figures.get(name), tables.get(name)) for name in names}


def chosen(root: Path, names: list[str]) -> list[Source]:
    """The sources of these names, or all; "-" and "_" are the same.

    Raises:
        InputError: an unknown name.
    """
    known = sources(root)
    found = []
    for given in dict.fromkeys(name.replace("-", "_") for name in names):
        if given not in known:
            raise unknown_name("figure", given, known)
        found.append(known[given])
    return found or list(known.values())


def draw(source: Source, out: Path) -> list[Path]:
    """Draw into a folder; the files drawn."""
    assert source.figures is not None
    out.mkdir(parents=True, exist_ok=True)
    with _loaded(source.figures, "main") as main:
        return list(main(out))


def readmes(source: Source) -> dict[Path, str]:
    """Every README of a study, as its results give it."""
    assert source.tables is not None
    with _loaded(source.tables, "readmes") as made:
        return dict(made())


def stale(made: Mapping[Path, str]) -> list[Path]:
    """The files that differ from what they should be."""
    return [path for path, text in made.items() if path.read_text("utf-8") != text]


def committed_pictures(root: Path) -> dict[str, Path]:
    """Committed pictures by the name under which they are drawn.

    experiments/STUDY/results/A/B.png is drawn as STUDY_A_B.png, or STUDY.png where it bears the
    study's name.
    """
    found = {path.name: path for path in root.glob(f"{FIGURES}/*.png")}
    for results in root.glob(f"{STUDIES}/*/results"):
        study = results.parent.name
        for path in results.rglob("*.png"):
            inside = path.relative_to(results).with_suffix("").parts
            name = study if inside == (study,) else "_".join((study, *inside))
            found[f"{name}.png"] = path
    return found


def renew_committed(root: Path, drawn: list[Path]) -> list[Path]:
    """Copy what was drawn over the committed pictures of the same name; the files renewed."""
    known = committed_pictures(root)
    renewed = []
    for path in drawn:
        target = known.get(path.name)
        if target is not None and target.resolve() != path.resolve():
            shutil.copyfile(path, target)
            renewed.append(target)
    return renewed


def filled(paths: list[Path], blocks: Mapping[str, str]) -> dict[Path, str]:
    """The texts of READMEs with <!-- generated: NAME --> … <!-- end --> renewed in each.

    Raises:
        InputError: a README asks for a block that is not made, or nobody asks for one that is.
    """
    made, used = {}, set()
    for path in paths:
        text = path.read_text("utf-8")
        asked = {match[1] for match in _BLOCK.finditer(text)}
        for name in sorted(asked - set(blocks)):
            raise InputError(f"{str(path)!r}: {unknown_name('generated block', name, blocks)}")
        used |= asked
        made[path] = _BLOCK.sub(
            lambda m: f"<!-- generated: {m[1]} -->\n{blocks[m[1]]}\n<!-- end -->", text
        )
    for name in blocks:
        if name not in used:
            raise InputError(f"no README has a place for the generated block {name!r}")
    return made


def renew(made: Mapping[Path, str], check: bool) -> int:
    """What `python tables.py [--check]` does: write, or exit code 1 if a README is out of date."""
    changed = stale(made)
    for path in changed:
        if not check:
            write_text(path, made[path])
        print(f"{'out of date' if check else 'wrote'}: {path}")
    return int(check and bool(changed))


@contextmanager
def _loaded(path: Path, entry: str) -> Iterator[Any]:
    """A script's function; what the script imports from beside itself goes when it is done with."""
    spec = importlib.util.spec_from_file_location(f"noisescale_script_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path), set(sys.modules), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, entry):
            raise InputError(f"{str(path)!r} has no {entry}()")
        yield getattr(module, entry)
    finally:
        sys.path[:], sys.dont_write_bytecode = before[0], before[2]
        # Two studies may each have a module of the same name beside their tables.
        for name in set(sys.modules) - before[1]:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if {FIGURES, STUDIES} & set(Path(file).parts[-3:]):
                del sys.modules[name]
