"""`noisescale train`: train a recipe's seeds, with checkpoints."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisescale.cli import fail
from noisescale.cli.data import add_data_arguments, data_dir_of
from noisescale.cli.extras import TRAIN, need
from noisescale.cli.interrupts import stop_wish
from noisescale.errors import InputError
from noisescale.recipe import Recipe, named_document, named_recipes, read_document, recipe_from

if TYPE_CHECKING:
    from noisescale.record import Record
    from noisescale.training.processes import Job
    from noisescale.training.train import Status

Listener = Callable[["Status"], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.epilog = (
        "example: noisescale train recipe.toml --seeds 3 --out run --plot run/curves.png"
    )
    add = parser.add_argument
    add("file", nargs="?", metavar="RECIPE.toml", help="a recipe with [model], [data] and [run]")
    names = ", ".join(trainable())
    add("--recipe", metavar="NAME", help=f"a built-in recipe instead of a file: {names}")
    add_data_arguments(parser)
    add("--seeds", type=int, metavar="K", help="number of seeds (default: as in the recipe)")
    add("--out", metavar="DIR", help="the runs (default: noisescale-runs/RECIPE)")
    add("--devices", type=int, metavar="N", help="divide every batch among N devices; 0: all")
    add("--parallel", type=int, metavar="N", help="train N seeds at a time, each on one device")
    add("--coordinator", metavar="HOST:PORT", help="one of several processes: where process 0 is")
    add("--processes", type=int, metavar="N", help="how many there are (default 2)")
    add("--process", type=int, metavar="K", help="which one this is, from 0")
    add("--fresh", action="store_true", help="begin anew instead of going on with what is there")
    add("--plot", metavar="FILE", help="draw loss, error and distance (PNG, PDF or SVG)")
    add("--tensorboard", metavar="DIR", help="log losses and errors for TensorBoard as well")
    add("--json", action="store_true", help="print a summary as JSON on standard output")


def trainable() -> list[str]:
    """Built-in recipes that state a model."""
    return [name for name, text in named_recipes().items() if "[model]" in text]


def run(options: argparse.Namespace) -> int:
    """Train, draw, print."""
    recipe, name = _recipe(options)
    need("train", (*TRAIN, *(["tensorboardX"] if options.tensorboard else [])), _extra(options))
    for option in ("plot", "tensorboard", "out"):
        if getattr(options, option) == "":
            raise InputError(f"--{option} is empty: give a name")
    if options.tensorboard and Path(options.tensorboard).is_file():
        raise InputError(f"--tensorboard {options.tensorboard}: it is a file, not a folder")
    out = Path(options.out) if options.out else Path("noisescale-runs") / name
    if options.plot:
        from noisescale.plots import check_ending

        folder = Path(options.plot).parent
        check_ending(Path(options.plot))
        if not folder.is_dir() and folder != out:
            raise InputError(f"no folder {str(folder)!r} for the figure: make it first")
    job = _job(options)
    from noisescale.training.processes import is_first, joined

    with joined(job):
        record = _train(recipe, out, options)
        first = is_first()
    if not first:
        return 0
    if options.plot:
        from noisescale.plots import run_figure, save

        save(run_figure(record.rows, name), Path(options.plot))
        print(f"wrote {options.plot}", file=sys.stderr)
    summary = _summary(record, out, recipe)
    if options.json:
        print(json.dumps(summary, indent=1, allow_nan=False))
    else:
        _print(summary)
    return 0


def _job(options: argparse.Namespace) -> "Job | None":
    from noisescale.training.processes import Job

    if options.coordinator is None:
        for name in ("process", "processes"):
            if getattr(options, name) is not None:
                raise InputError(f"--{name} needs --coordinator: where is process 0?")
        return None
    if options.process is None:
        raise InputError("--coordinator needs --process: which one is this, from 0?")
    processes = 2 if options.processes is None else options.processes
    return Job(coordinator=options.coordinator, processes=processes, process=options.process)


def _extra(options: argparse.Namespace) -> str:
    return "train,tensorboard" if options.tensorboard else "train"


def _recipe(options: argparse.Namespace) -> tuple[Recipe, str]:
    if (options.file is None) == (options.recipe is None):
        raise InputError("give a recipe file, or --recipe with the name of a built-in one")
    if options.file is not None:
        document, name = read_document(options.file), Path(options.file).stem
    else:
        document, name = named_document(options.recipe), options.recipe
        if name not in trainable():
            raise InputError(
                f"--recipe {name}: it states no [model]; with one are {', '.join(trainable())}"
            )
    given = {"seeds": options.seeds, "devices": options.devices}
    if options.coordinator is not None and options.devices is None:
        given["devices"] = 0
    run = document.setdefault("run", {})
    if isinstance(run, dict):
        run |= {key: value for key, value in given.items() if value is not None}
    return recipe_from(document), name


def _train(recipe: Recipe, out: Path, options: argparse.Namespace) -> "Record":
    from noisescale.training.checkpoints import Stopped
    from noisescale.training.processes import is_first
    from noisescale.training.train import train

    data_dir = data_dir_of(options, recipe.data.name)
    bar = _Bar()
    logs = _logs(options.tensorboard)

    def report(status: "Status") -> None:
        bar.show(status)
        logs(status)

    try:
        with stop_wish() as stop:
            return train(
                recipe,
                out,
                resume=not options.fresh,
                report=report if is_first() else None,
                data_dir=data_dir,
                stop=stop,
                parallel=1 if options.parallel is None else options.parallel,
            )
    except Stopped:
        bar.close()
        fail(f"stopped; the checkpoint is saved in {out}, the same command goes on", 143)
    except OSError as error:
        bar.close()
        where = error.filename or out
        fail(
            f"cannot write to {where} ({error.strerror or error}): the last checkpoint is as it "
            "was; once that is mended the same command goes on",
            1,
        )
    finally:
        bar.close()


def _logs(folder: str | None) -> Listener:
    """Writes every new measurement as TensorBoard scalars, one series per seed."""
    if folder is None:
        return lambda status: None
    from tensorboardX import SummaryWriter

    writers: dict[int, Any] = {}
    seen: dict[int, int] = {}

    def log(status: "Status") -> None:
        update = status.row.get("update")
        if update is None or seen.get(status.seed) == update:
            return
        if status.seed not in writers:
            writers[status.seed] = SummaryWriter(f"{folder}/seed-{status.seed:04d}")
        seen[status.seed] = update
        for name, value in status.row.items():
            if isinstance(value, int | float) and name not in ("update", "seed"):
                writers[status.seed].add_scalar(name, value, update)
        writers[status.seed].flush()

    return log


class _Bar:
    """Live progress on standard error: updates, examples/s, loss, error, time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            TextColumn("{task.percentage:>3.0f} %"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[numbers]}"),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            expand=True,
        )
        self._task = self._bar.add_task("compiling", total=None, numbers="")

    def show(self, status: "Status") -> None:
        """One more stretch is done."""
        if not self._bar.live.is_started:
            # What earlier calls did is no speed of this one.
            self._bar.reset(self._task, total=status.total, completed=status.done, start=True)
            self._bar.start()
        row = status.row
        numbers = f"{status.examples_per_second:,.0f} examples/s"
        if row.get("train_loss") is not None:
            numbers += (
                f", loss {row['train_loss']:.4f}, error {100 * row['evaluation_error']:.2f} %"
            )
        self._bar.update(
            self._task,
            description=f"seed {status.seed}",
            total=status.total,
            completed=status.done,
            numbers=numbers,
        )

    def close(self) -> None:
        """A bar that never started would still end the line."""
        if self._bar.live.is_started:
            self._bar.stop()


def _summary(record: "Record", out: Path, recipe: Recipe) -> dict[str, Any]:
    from noisescale.record import RESULT

    seeds = []
    for seed in record.identity["seed"]:
        folder = out / f"seed-{seed:04d}"
        result = json.loads((folder / RESULT).read_text("utf-8"))
        rows = [r for r in record.rows if r["seed"] == seed]
        last = [r for r in rows if "train_error" in r and r["train_error"] is not None]
        seeds.append(
            {
                "seed": seed,
                "directory": str(folder),
                **{k: result[k] for k in ("status", "updates", "weights_sha256", "rows_sha256")},
                "final": {
                    name: value
                    for name, value in last[-1].items()
                    if name != "seed" and not isinstance(value, dict | list)
                },
            }
        )
    return {
        "schema": "noisescale.train/1",
        "directory": str(out),
        "status": record.status,
        "data": recipe.data.name,
        "evaluation_split": "validation" if recipe.data.validation else "test",
        "seeds": seeds,
    }


def _print(summary: dict[str, Any]) -> None:
    from noisescale.cli.tables import Output, table

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.2f} %"

    rows = []
    for one in summary["seeds"]:
        final = one["final"]
        loss = final["train_loss"]
        rows.append(
            [
                str(one["seed"]),
                one["status"],
                f"{one['updates']:,}",
                "–" if loss is None else f"{loss:.4g}",
                percent(final["train_error"]),
                percent(final["evaluation_error"]),
                "–" if final["distance"] is None else f"{final['distance']:.4g}",
            ]
        )
    head = ["seed", "status", "updates", "train loss", "train error"]
    head += [f"{summary['evaluation_split']} error", "distance"]
    Output().print(table(head, rows, right=set(range(2, 7))))
    print(f"wrote {summary['directory']}", file=sys.stderr)
