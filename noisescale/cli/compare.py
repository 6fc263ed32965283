"""`noisescale compare`: are groups of training runs the same run?"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from noisescale.cli.reading import reading, renamed
from noisescale.errors import InputError, shown, unknown_name

if TYPE_CHECKING:
    from noisescale.analysis.run_groups.results import (
        GroupComparison,
        PairComparison,
        QuantityVerdict,
    )
    from noisescale.analysis.run_groups.runs import MeasuredRun

SCHEMA = "noisescale.compare/1"
_EXAMPLES = """examples:
  noisescale compare --group baseline runs/a --group scaled runs/b --relative-margin 0.1
  noisescale compare --group a a.csv --group b b.csv --seed-column seed --metric val_loss \\
      --clock step --margin 0.02 --from 1000 --plot difference.png"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument_group("which runs").add_argument
    add(
        "--group",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "RUN"),
        help="a label and its runs: run folders, folders of them, .jsonl or .csv files; give it "
        "for every group, the reference first",
    )
    add("--seed-column", metavar="C", help="column that tells the runs in one file apart")
    add("--group-column", metavar="C", help="a group takes the rows of its files where C is NAME")
    add(
        "--columns",
        nargs="+",
        default=[],
        metavar="QUANTITY=COLUMN",
        help="what the files call a metric or the clock",
    )
    add = parser.add_argument_group("what is compared").add_argument
    add(
        "--metric",
        nargs="+",
        default=["evaluation_loss"],
        metavar="M",
        help="the first decides (default evaluation_loss); with no others given, all columns that "
        "every run has are looked at",
    )
    add("--clock", default="epoch", metavar="C", help="what the rule keeps (default epoch): "
        "examples; update for rules that scale durations")  # fmt: skip
    add("--from", type=float, dest="start", metavar="T", help="compare from this clock value on")
    add("--points", type=int, default=8, metavar="K", help="the last K measurements (default 8)")
    add("--paired", action="store_true", help="compare equal seeds with each other")
    add = parser.add_argument_group("what counts as the same: exactly one of").add_argument
    add("--margin", type=float, metavar="D", help="in the unit of the first metric")
    add("--relative-margin", type=float, metavar="R", help="0.1: ratios from 1/1.1 to 1.1")
    add(
        "--positive-control",
        nargs="+",
        metavar="RUN",
        help="runs known to differ from the first group: half of their difference is the margin "
        "(with --group-column: NAME RUN...)",
    )
    add = parser.add_argument_group("what comes out").add_argument
    add("--level", type=float, default=0.05, metavar="P", help="error of a claim (default 0.05)")
    add("--plot", metavar="FILE", help="draw curves and differences (.png, .pdf or .svg)")
    add("--json", action="store_true", help="print one JSON document on standard output")


def run(options: argparse.Namespace) -> int:
    """Read, compare, draw, print."""
    from noisescale.analysis.run_groups.compare import compare_groups

    groups = _labels(options.group)
    if options.plot is not None:
        from noisescale.plots import check_target

        check_target(Path(options.plot))
    columns = renamed(options.columns, [options.clock, *options.metric])
    control: list[MeasuredRun] = []
    with reading() as report:

        def read(paths: Sequence[str], name: str | None) -> "list[MeasuredRun]":
            return _read(paths, name, columns, options, report)

        runs = {name: read(paths, name) for name, paths in groups.items()}
        if options.positive_control:
            name, paths = None, options.positive_control
            if options.group_column is not None:
                name, *paths = paths
            control = read(paths, name)
    result = compare_groups(
        runs,
        clock=options.clock,
        metrics=options.metric,
        margin=options.margin,
        relative_margin=options.relative_margin,
        positive_control=control,
        start=options.start,
        points=options.points,
        level=options.level,
        paired=options.paired,
    )
    if options.plot is not None:
        _plot(result, Path(options.plot))
    if options.json:
        document = {"schema": SCHEMA, **result.to_dict()}
        print(json.dumps(document, indent=1, allow_nan=False))
    else:
        _print(result)
    return 0


def _labels(given: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, *paths in given:
        if name in groups:
            raise InputError(f"--group {shown(name)} is given twice: list all its runs after one")
        if not paths:
            raise InputError(f"--group {shown(name)} names no runs: give its label, then its runs")
        groups[name] = paths
    if len(groups) < 2:
        raise InputError("give at least two groups: --group A RUN... --group B RUN...")
    return groups


def _read(
    paths: Sequence[str],
    name: str | None,
    columns: dict[str, str],
    options: argparse.Namespace,
    report: Callable[[int], None],
) -> "list[MeasuredRun]":
    from noisescale.formats.measured import read_runs

    runs = read_runs(
        paths,
        clock=options.clock,
        columns=columns,
        others=len(options.metric) == 1,
        seed_column=options.seed_column,
        group_column=options.group_column,
        report=report,
    )
    if options.group_column is None:
        return runs
    known = {run.group: None for run in runs if run.group is not None}
    if name not in known:
        raise unknown_name(f"value of {options.group_column}", name, known)
    return [run for run in runs if run.group == name]


def _plot(result: "GroupComparison", path: Path) -> None:
    from noisescale.plots import save
    from noisescale.plots.groups import groups_figure

    figure = groups_figure(result)
    if figure is None:
        print("nothing to draw: all runs of a group diverged", file=sys.stderr)
        return
    save(figure, path)
    print(f"wrote {path}", file=sys.stderr)


def _print(result: "GroupComparison") -> None:
    from rich.markup import escape

    from noisescale.cli.tables import Output, table

    console = Output()
    colour = {"same": "green", "different": "red", "undecided": "yellow"}
    confidence = f"{100 * (1 - 2 * result.level):g} %"
    for pair in result.pairs:
        first, second = escape(pair.reference), escape(pair.other)
        console.print(
            f"[bold]{first}[/bold] ({pair.n[0]}) and [bold]{second}[/bold] ({pair.n[1]}): "
            f"[{colour[pair.verdict]}]{pair.verdict}[/]"
        )
        rows = [
            [
                escape(q.quantity),
                f"[{colour[q.verdict]}]{q.verdict}[/]",
                *_difference(q),
                _p_value(q.p_adjusted),
                "–" if q.parts_at is None else f"{q.parts_at:g}",
            ]
            for q in pair.quantities
        ]
        head = ["quantity", "verdict", "difference", f"{confidence} interval", "p", "part at"]
        if rows:
            console.print(table(head, rows, right={2, 3, 4, 5}, fold_names=True, whole={1}))
        for line in _sentences(pair, result.clock):
            console.print(escape(line))
    for note in result.notes:
        console.print(escape(f"note: {note}"))


def _sentences(pair: "PairComparison", clock: str) -> list[str]:
    """The verdict in words, and how far it can be trusted."""
    lines = [f"{pair.verdict}: {pair.reason}"]
    if pair.parts_at is not None:
        time, quantity = pair.parts_at
        lines.append(f"they part at {clock} {time:g} ({quantity})")
    if pair.quantities:
        main = pair.quantities[0]
        first, last = main.common_range
        points = f"{len(main.points)} points, {clock} {main.points[0]:g} to {main.points[-1]:g}"
        if main.margin is not None:
            unit = " %" if main.scale == "log" else ""
            points += f", margin {_amount(main.margin, main.scale):.4g}{unit}"
        lines.append(f"compared: {points}; the common range is {first:g} to {last:g}")
        # A diverged run forbids "same" however many seeds there are.
        if pair.verdict == "undecided" and pair.divergence is None and min(pair.n) > 1:
            if main.seeds_needed is not None:
                lines.append(f"as it looks now, {main.seeds_needed} seeds a group would decide")
            elif main.margin is not None:
                why = "the difference lies at the margin"
                lines.append(f"as it looks now, no number of seeds would decide: {why}")
    if pair.paired:
        lines.append(_pairing(pair, clock))
    if pair.calibration is not None:
        c = pair.calibration
        kind = f"splits of {pair.reference}" if c.method == "splits" else "resampled pairs"
        lines.append(
            f"without any difference: called different in {c.different} of {c.trials} {kind} "
            f"({c.sizes[0]} against {c.sizes[1]}), the same in {c.same}"
        )
        lines.append(
            f'at these seeds: "same" with probability {_probability(c.power_same)} if nothing '
            f'differs, "different" with {_probability(c.power_different)} if twice the margin '
            f"does; a difference of the margin is seen at all with {_probability(c.power_margin)}"
        )
    return [*lines, *(f"note: {note}" for note in pair.notes)]


def _pairing(pair: "PairComparison", clock: str) -> str:
    line = "equal seeds are compared with each other"
    if pair.shared_until is not None:
        line += f", which are one run until {clock} {pair.shared_until:g}"
    correlation = pair.quantities[0].correlation if pair.quantities else None
    return line if correlation is None else f"{line}; their correlation is {correlation:.2f}"


def _difference(q: "QuantityVerdict") -> tuple[str, str]:
    """The difference in the metric's unit, or in percent where logarithms are compared."""
    unit = " %" if q.scale == "log" else ""
    text = f"{_amount(q.effect, q.scale):+.3g}{unit}"
    if q.interval is None:
        return text, "–"
    low, high = (_amount(end, q.scale) for end in q.interval)
    return text, f"{low:+.3g} … {high:+.3g}"


def _probability(value: float) -> str:
    return "> 0.99" if value > 0.99 else f"{value:.2f}"


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def _amount(value: float, scale: str) -> float:
    from math import expm1

    return value if scale == "linear" else 100 * expm1(value)
