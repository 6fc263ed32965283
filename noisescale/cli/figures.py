"""`noisescale figures`: figures and tables of a checkout, from its committed results."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from noisescale.cli import fail
from noisescale.errors import InputError
from noisescale.experiment.figures import (
    checkout,
    chosen,
    draw,
    readmes,
    renew_committed,
    stale,
)
from noisescale.record import write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.description = (
        "Draw every figure and write every table of a checkout of noisescale again, from the "
        "results committed there. Nothing is trained. Pictures go to a folder of their own, since "
        "their bytes depend on matplotlib's version; the generated tables go to the READMEs they "
        "stand in."
    )
    parser.epilog = "example: noisescale figures increase_batch_size --out pictures"
    add = parser.add_argument
    add("names", metavar="NAME", nargs="*", help="which of them (default: all)")
    add("--out", metavar="DIR", help="pictures, PNG and PDF (default: paper_figs/out)")
    add("--root", metavar="DIR", help="the checkout (default: the current folder or one above)")
    add(
        "--committed",
        action="store_true",
        help="also replace the committed pictures (experiments/*/results) by those drawn",
    )
    add(
        "--check",
        action="store_true",
        help="draw and write nothing; exit with 1 if a README differs from what its results give",
    )
    add("--json", action="store_true", help="print what was written as JSON on standard output")


def run(options: argparse.Namespace) -> int:
    """Find the checkout, draw, write, print."""
    if options.check and (options.out or options.committed):
        given = "--out" if options.out else "--committed"
        raise InputError(f"--check writes nothing: leave out {given}")
    root = checkout(Path.cwd() if options.root is None else Path(options.root))
    out = root / "paper_figs" / "out" if options.out is None else Path(options.out)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {options.out!r} is a file: give a folder")
    document: dict[str, Any] = {"schema": "noisescale.figures/1", "root": str(root), "sources": []}
    differing: list[Path] = []
    unreadable = []
    for source in chosen(root, options.names):
        try:
            made = {} if source.tables is None else readmes(source)
            drawn = [] if source.figures is None or options.check else draw(source, out)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] == "noisescale":
                raise
            fail(f"{source.name} needs {error.name}: pip install 'noisescale[all]'", 1)
        except InputError:
            raise
        except (OSError, ValueError, KeyError) as error:
            # One study without its results does not keep the others from being drawn.
            print(f"noisescale: {source.name}: {_why(error)}", file=sys.stderr)
            unreadable.append(source.name)
            continue
        changed = stale(made)
        differing += changed
        renewed = renew_committed(root, drawn) if options.committed else []
        if not options.check:
            for path in changed:
                write_text(path, made[path])
            for path in (*drawn, *renewed, *changed):
                print(path, file=sys.stderr if options.json else sys.stdout, flush=True)
        entry = {"name": source.name, "drawn": drawn, "committed": renewed}
        entry |= {"readmes": list(made), "readmes_out_of_date": changed}
        document["sources"].append(
            {k: v if isinstance(v, str) else [str(p) for p in v] for k, v in entry.items()}
        )
    if options.json:
        print(json.dumps(document, indent=1, allow_nan=False))
    if unreadable:
        return 1
    if options.check and differing:
        listed = ", ".join(str(path.relative_to(root)) for path in dict.fromkeys(differing))
        print(
            f"noisescale: out of date: {listed}; noisescale figures writes them anew",
            file=sys.stderr,
        )
        return 1
    return 0


def _why(error: Exception) -> str:
    """What is wrong with a study's committed results, in one line."""
    if isinstance(error, OSError):
        name = Path(str(error.filename)).name if error.filename else "a file"
        return f"cannot read {name} ({error.strerror}): run the study, or take its results back"
    what = f"no entry {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
    return f"its results are damaged ({what}): take them back from the repository"
