"""Write the generated tables of README.md from the committed results.

python experiments/is_it_a_walk/tables.py          # rewrite
python experiments/is_it_a_walk/tables.py --check  # exit 1 if a table is out of date
"""

import sys
from pathlib import Path
from statistics import mean

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import study  # noqa: E402

from noisescale.analysis.laws import Comparison  # noqa: E402
from noisescale.experiment.figures import filled, renew  # noqa: E402
from noisescale.experiment.report import markdown_table  # noqa: E402

TASKS = ("digits", "digits-label-noise", "digits-random-labels", "mnist", "cifar10")


def tasks() -> list[str]:
    """The tasks whose results are committed."""
    return [task for task in TASKS if (study.RESULTS / f"{task}.json").exists()]


def pm(number: object, digits: int = 2) -> str:
    """Estimate ± standard error."""
    value, error = getattr(number, "value", None), getattr(number, "stderr", None)
    if value is None:
        return "–"
    return f"{value:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def runs() -> str:
    """What was run, and how it ended."""
    rows = []
    for task in tasks():
        document = study.document(task)
        first = document["runs"][0]
        sizes = sorted({run["batch_size"] for run in document["runs"]})
        finals = document["evaluations"]
        ends = [finals[f"batch-{size}-replica-0"] for size in sizes]
        rows.append(
            [
                task,
                f"{first['train_size']:,}",
                ", ".join(f"{size:,}" for size in sizes),
                f"{first['learning_rate']:g}",
                f"{first['momentum']:g}",
                f"{len({run['seed'] for run in document['runs']})}",
                f"{ends[0]['update'][0]:,}",
                ", ".join(f"{mean(end['train_loss']):.2g}" for end in ends),
                ", ".join(f"{100 * mean(end['evaluation_error']):.1f}" for end in ends),
            ]
        )
    head = ["task", "N", "batch sizes", "ε", "m", "seeds", "updates"]
    return markdown_table([*head, "final training loss", "final test error %"], rows)


def walks() -> str:
    """The verdicts, and the numbers behind them at the smallest batch."""
    rows = []
    for task in tasks():
        judged = study.walk(task)
        seen = judged.evidence
        arm = None if seen is None else seen.arms[0]
        rows.append(
            [
                task,
                pm(getattr(arm, "drift_share", None)),
                pm(getattr(arm, "growth_share", None)),
                pm(getattr(arm, "full_ratio", None)),
                pm(getattr(seen, "batch_exponent", None), 3),
                pm(getattr(arm, "time_exponent", None)),
                pm(getattr(arm, "noise_exponent", None)),
                pm(getattr(arm, "uncorrelated", None)),
                f"**{judged.verdict}**",
                judged.reason,
            ]
        )
    head = ["task", "drift share q", "of the growth", "full batch's distance / this"]
    head += ["β", "γ", "γ of the noise", "1/M", "verdict", "why"]
    return markdown_table(head, rows)


def laws() -> str:
    """Verdicts over the whole window and over the last two decades."""
    rows = []
    for task in tasks():
        last = study.last_update(task)
        late = study.laws(task, window=(last / 100, last))
        for whole, end in zip(study.laws(task), late, strict=True):
            assert isinstance(whole.laws, Comparison) and isinstance(end.laws, Comparison)
            first, second = end.laws.best
            power = end.laws.fits["power"]
            rows.append(
                [
                    task,
                    f"{whole.batch_size:,}",
                    f"{len(whole.distance)}",
                    f"**{whole.laws.verdict}**",
                    f"**{end.laws.verdict}**",
                    f"{first}, {second}",
                    f"{power.parameters['exponent']:.3f} ± {power.stderr['exponent']:.3f}",
                ]
            )
    head = ["task", "B", "curves", "whole run", "last two decades", "nearest there"]
    return markdown_table([*head, "power there"], rows)


def noise_scales() -> str:
    """B_simple in the first and in the last window in which it was measured."""
    rows = []
    for task in tasks():
        for group in study.noise_scale(task):
            assert group.noise_scale is not None
            measured = [w for w in group.noise_scale.windows if w.verdict == "measured"]
            lost = len(group.noise_scale.windows) - len(measured)
            entries = []
            for window in [measured[0], measured[-1]] if measured else []:
                low, high = window.interval or (0.0, 0.0)
                first, last = window.window or (1.0, 1.0)
                entries.append(
                    f"{window.value:.3g} [{low:.3g}, {high:.3g}] at updates "
                    f"{first - 1:.0f} – {last - 1:.0f}"
                )
            rows.append([task, f"{group.batch_size:,}", *(entries or ["–", "–"]), f"{lost}"])
    head = ["task", "B", "early", "late", "windows in which \\|G\\|² is lost in noise"]
    return markdown_table(head, rows).replace("\\\\|", "\\|")


def roughness() -> str:
    """The loss along random rays from the initial weights."""
    rows = []
    for task in tasks():
        for name, found in study.landscapes(task).items():
            numbers = found.centred.diagnostics
            second = numbers.get("second_difference_exponent")
            error = numbers.get("second_difference_stderr")
            slopes = found.bins.std_slope if found.bins is not None else None
            rows.append(
                [
                    task,
                    name.removeprefix("seed-").lstrip("0") or "0",
                    f"{numbers['alpha_uncut']:.2f} ± {found.centred.stderr:.2f}",
                    f"{found.uncentred.diagnostics['alpha_uncut']:.2f}",
                    "–" if slopes is None else f"{2 * slopes[0]:.2f} ± {2 * slopes[1]:.2f}",
                    "–" if second is None else f"{second:.2f} ± {error:.2f}",
                    f"**{found.verdict}**",
                ]
            )
    head = ["task", "seed", "α from std over rays", "from rms", "from binned points"]
    return markdown_table([*head, "from second differences", "verdict"], rows)


def blocks() -> dict[str, str]:
    """Every generated block by its name."""
    return {
        "runs": runs(),
        "walks": walks(),
        "laws": laws(),
        "noise scales": noise_scales(),
        "roughness": roughness(),
    }


def readmes() -> dict[Path, str]:
    """README.md as the committed results give it."""
    return filled([HERE / "README.md"], blocks())


if __name__ == "__main__":
    sys.exit(renew(readmes(), "--check" in sys.argv[1:]))
