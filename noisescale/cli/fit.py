"""`noisescale fit`: growth laws of distance curves, and what else measured runs tell."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisescale.errors import InputError, shown

if TYPE_CHECKING:
    from noisescale.analysis.gradient_noise import NoiseScaleOverTime
    from noisescale.analysis.growth import Growth
    from noisescale.analysis.laws import Comparison, Fit
    from noisescale.analysis.roughness.landscape import Landscape
    from noisescale.analysis.walk import WalkVerdict

SCHEMA = "noisescale.fit/1"
_EXAMPLES = """examples:
  noisescale fit run                                      # a folder of `noisescale train`
  noisescale fit log.csv --clock step --columns distance=weight_distance --seed-column seed
  noisescale fit runs/batch-* --plot fit.png --json > fit.json

What runs hold beside a distance is used: gradient moments give the gradient noise scale, several
batch sizes, data orders and the full batch the verdict whether it is a walk, landscape.json the
roughness of the loss around the initial weights."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="run folders, folders of them, .jsonl or .csv files")
    add("--clock", default="update", metavar="C", help="what x counts (default update)")
    add(
        "--columns",
        nargs="+",
        default=[],
        metavar="QUANTITY=COLUMN",
        help="what the files call the clock, distance, small_sq_norm, big_sq_norm, small_batch or "
        "big_batch",
    )
    add("--seed-column", metavar="C", help="column that tells the runs in one file apart")
    add("--group-column", metavar="C", help="column whose values are fitted one by one")
    laws = "log, log-power, power, saturating, norm-growth or all (default)"
    add("--law", default="all", metavar="LAW", help=laws)
    add("--window", nargs=2, type=float, metavar=("FROM", "TO"), help="part of x that is used")
    add("--level", type=float, default=0.95, metavar="P", help="of intervals (default 0.95)")
    add("--plot", metavar="FILE", help="draw all that was found (.png, .pdf or .svg)")
    add("--json", action="store_true", help="print one JSON document on standard output")


def run(options: argparse.Namespace) -> int:
    """Read, fit, draw, print."""
    from noisescale.analysis.growth import growth_of
    from noisescale.cli.reading import reading
    from noisescale.formats.measured import read_runs

    if options.plot is not None:
        from noisescale.plots import check_target

        check_target(Path(options.plot))
    columns = _columns(options)
    wanted = {options.clock, *_asked(options)}
    with reading() as report:
        runs = read_runs(
            options.runs,
            clock=options.clock,
            columns={q: columns[q] for q in wanted},
            optional={q: column for q, column in columns.items() if q not in wanted},
            seed_column=options.seed_column,
            group_column=options.group_column,
            report=report,
        )
    window = None if options.window is None else tuple(options.window)
    found = growth_of(
        runs, clock=options.clock, law=options.law, window=window, level=options.level
    )
    walk, walk_note = _walk(options)
    landscapes = _landscapes(options)
    if options.json:
        document = {
            "schema": SCHEMA,
            "groups": [growth.to_dict() for growth in found],
            "walk": None if walk is None else walk.to_dict(),
            "landscapes": {name: one.to_dict() for name, one in landscapes.items()},
        }
        print(json.dumps(document, indent=1, allow_nan=False))
    else:
        _print(found, walk, walk_note, landscapes)
    if options.plot is not None:
        _plot(Path(options.plot), found, walk, landscapes)
    return 0


def _columns(options: argparse.Namespace) -> dict[str, str]:
    from noisescale.analysis.growth import MOMENTS
    from noisescale.cli.reading import renamed

    columns = renamed(options.columns, [options.clock, "distance", *MOMENTS])
    if not all(Path(path).is_dir() for path in options.runs):
        return columns
    # Where our own runs hold them.
    own = {name: f"gradient_moments.{name}" for name in MOMENTS if columns[name] == name}
    return columns | own


def _asked(options: argparse.Namespace) -> list[str]:
    """Quantities that must be there: those of --columns, all of a noise scale's if one is."""
    from noisescale.analysis.growth import MOMENTS

    asked = [text.partition("=")[0] for text in options.columns]
    if any(name in MOMENTS for name in asked):
        return [*MOMENTS, *(["distance"] if "distance" in asked else [])]
    return ["distance"]


def _walk(options: argparse.Namespace) -> "tuple[WalkVerdict | None, str]":
    """The verdict where folders of our own runs hold several data orders or batch sizes."""
    from noisescale.analysis.walk import judge_walk
    from noisescale.formats.trajectories import read_trajectories

    if not all(Path(path).is_dir() for path in options.runs):
        return None, ""
    try:
        trajectories = read_trajectories(options.runs)
        settings = {(t.batch_size, t.replica) for t in trajectories}
        if len(settings) < 2:
            return None, ""
        return judge_walk(trajectories, level=options.level), ""
    except InputError as error:
        return None, str(error)


def _landscapes(options: argparse.Namespace) -> "dict[str, Landscape]":
    from noisescale.formats.trajectories import read_landscapes

    folders = [Path(path) for path in options.runs if Path(path).is_dir()]
    return read_landscapes(folders, level=options.level)


def _print(
    found: "Sequence[Growth]",
    walk: "WalkVerdict | None",
    walk_note: str,
    landscapes: "Mapping[str, Landscape]",
) -> None:
    from rich.markup import escape

    from noisescale.analysis.laws import Comparison
    from noisescale.cli.tables import Output, table

    output = Output()
    for growth in found:
        if growth.laws is not None:
            output.print(f"\n{_title(growth)}")
            head, rows = _law_rows(growth.laws)
            output.print(table(head, rows, right={2, 3} if len(head) > 2 else None))
        else:
            output.print(f"\n[bold]{escape(growth.label)}[/bold]")
            if len(growth.distance):
                output.print(f"law: [yellow]undecided[/yellow] ({escape(growth.undecided)})")
        if isinstance(growth.laws, Comparison):
            colour = "yellow" if growth.laws.verdict == "undecided" else "green"
            reason = escape(growth.laws.reason)
            output.print(f"law: [{colour}]{growth.laws.verdict}[/{colour}] ({reason})")
        if growth.noise_scale is not None:
            head, rows = _noise_rows(growth.noise_scale, growth.batch_size)
            output.print(table(head, rows, right=set(range(len(head)))))
        for note in growth.notes:
            output.print(f"note: {escape(note)}")
    if walk is not None:
        colour = "yellow" if walk.verdict == "undecided" else "green"
        output.print(f"\nwalk: [{colour}]{walk.verdict}[/{colour}] ({escape(walk.reason)})")
        for need in walk.needs:
            output.print(f"needed: {escape(need)}")
    elif walk_note:
        output.print(f"\nwalk: not judged ({escape(walk_note)})")
    for name, landscape in landscapes.items():
        output.print(f"\nlandscape of {escape(name)}: {escape(landscape.statement)}")


def _title(growth: "Growth") -> str:
    """The group, and what was fitted."""
    from rich.markup import escape

    assert growth.laws is not None
    seeds = len(growth.distance)
    low, high = growth.laws.window
    what = f"{growth.quantity} over {growth.clock} from {low:g} to {high:g}"
    curves = f"{seeds} {'seeds' if seeds > 1 else 'curve'}"
    return f"[bold]{escape(growth.label)}[/bold]: {what}, {curves}"


def _law_rows(laws: "Fit | Comparison") -> tuple[list[str], list[list[str]]]:
    from noisescale.analysis.laws import Fit

    if isinstance(laws, Fit):
        return ["law", "parameters"], [[laws.law, _parameters(laws)]]
    head = ["law", "parameters", "ΔAICc", "last decade\npredicted, p"]
    rows = []
    for name, fit in sorted(laws.fits.items(), key=lambda item: laws.aicc_difference[item[0]]):
        p = laws.heldout_p.get(name)
        rows.append(
            [
                name,
                _parameters(fit),
                f"{laws.aicc_difference[name]:.1f}",
                "–" if p is None else f"{p:.2g}",
            ]
        )
    return head, rows


def _parameters(fit: "Fit") -> str:
    """Estimates with standard errors, and the special cases that the interval holds."""
    if fit.at_limit:
        return "at the limit where it turns into a simpler law"
    parts = [
        f"{name.replace('_', ' ')} {value:.4g} ± {fit.stderr[name]:.2g}"
        for name, value in fit.parameters.items()
    ]
    cases = [name for name, inside in fit.special.items() if inside]
    return ", ".join(parts) + (f" ({' or '.join(cases)} not excluded)" if cases else "")


def _noise_rows(
    scale: "NoiseScaleOverTime", batch_size: int | None
) -> tuple[list[str], list[list[str]]]:
    """B_simple per window, and what it makes of this batch size."""
    from noisescale.analysis.gradient_noise import steps_and_examples

    head = ["updates", "B_simple", "interval", "measured", "examples / least\nat this batch"]
    rows = []
    for window in scale.windows:
        # Windows count updates + 1, so that update 0 has a logarithm.
        low, high = window.window or (1.0, 1.0)
        interval, cost = "–", "–"
        if window.interval is not None:
            interval = f"[{window.interval[0]:.3g}, {window.interval[1]:.3g}]"
        if batch_size is not None and window.verdict == "measured":
            cost = f"{steps_and_examples(window, batch_size).examples:.3g}"
        rows.append(
            [
                f"{low - 1:,.0f} – {high - 1:,.0f}",
                f"{window.value:.3g}" if window.verdict == "measured" else "undecided",
                interval,
                str(window.n),
                cost,
            ]
        )
    return head, rows


def _plot(
    path: Path,
    found: "Sequence[Growth]",
    walk: "WalkVerdict | None",
    landscapes: "Mapping[str, Landscape]",
) -> None:
    """The laws in FILE, and beside it FILE-noise, FILE-walk and FILE-landscape."""
    from noisescale.plots import save
    from noisescale.plots.fit import growth_figure, noise_scale_figure
    from noisescale.plots.landscape import landscape_figure

    figures: dict[str, Any] = {}
    if any(growth.laws is not None for growth in found):
        figures[""] = growth_figure([growth for growth in found if growth.laws is not None])
    if any(growth.noise_scale is not None for growth in found):
        figures["-noise"] = noise_scale_figure(found)
    if walk is not None:
        figures["-walk"] = walk.plot()
    for name, landscape in landscapes.items():
        figures["-landscape"] = landscape_figure(landscape, f"{shown(name)}, initial weights")
        break
    for ending, figure in figures.items():
        target = path.with_name(f"{path.stem}{ending}{path.suffix}")
        save(figure, target)
        print(f"wrote {target}", file=sys.stderr)
