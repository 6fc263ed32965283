"""The shell: one file per command; each parses, calls one library function and prints."""

import argparse
import os
import sys
from io import TextIOWrapper
from typing import Any, NoReturn

from noisescale.errors import InputError

COMMANDS = {
    "check": "whether this machine and these libraries compute what training needs",
    "compare": "whether groups of training runs are the same run, and from where they part",
    "equivalent": "which schedules are the same run at another batch size",
    "figures": "draw the figures and write the tables of a checkout from its committed results",
    "fit": "which law a distance from the start follows, and what else measured runs tell",
    "simulate": "walkers in a random potential: how far they come, and which law that follows",
    "train": "train a recipe's seeds, with checkpoints from which a stopped run goes on",
    "verify": "train every arm of an experiment and judge its predictions",
}


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line on standard error, exit code 2."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # An abbreviation that works today is ambiguous tomorrow.
        super().__init__(*arguments, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        fail(message, 2)


def fail(message: str, code: int) -> NoReturn:
    """End with one line on standard error."""
    line = " ".join(str(message).split())
    print(f"noisescale: error: {line}", file=sys.stderr)
    raise SystemExit(code)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns 0, or exits with 1 (failure), 2 (bad input) or 143 (stopped)."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal without Greek letters shows question marks rather than a traceback.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    parser = Parser(
        prog="noisescale",
        description="Which training schedules are the same run at another batch size, learning "
        "rate or momentum, and a way to verify it.",
        epilog="example: noisescale equivalent --epochs 200 --batch-size 128 --learning-rate 0.1 "
        "--momentum 0.9 --milestones 60 120 160 --decay-factor 5 --train-size 50000",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    arguments = sys.argv[1:] if argv is None else argv
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            _module(name).add_arguments(command)
    options = parser.parse_args(arguments)
    if options.version:
        import noisescale

        print(noisescale.__version__)
        return 0
    if options.command is None:
        parser.error(f"give a command: {', '.join(COMMANDS)} (noisescale --help)")
    try:
        return int(_module(options.command).run(options))
    except InputError as error:
        fail(str(error), 2)
    except KeyboardInterrupt:
        fail("stopped", 130)
    except BrokenPipeError:
        # The reader of our output left (a pipe into head): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f" {error.filename!r}" if error.filename else ""
        fail(f"{error.strerror or error}{where}", 1)


def _module(name: str):  # type: ignore[no-untyped-def]
    from importlib import import_module

    return import_module(f"noisescale.cli.{name}")
