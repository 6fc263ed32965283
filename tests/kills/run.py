"""Runs of several recipes, killed at many times and resumed: are they those left alone?

    python tests/kills/run.py [--kills 48]

So many kills come at times uniform over the run or what is left of it, up to three in one run;
beside them, in every recipe, kills at given moments. The result goes to last-run.txt; exit code 1
if anything differs.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from tests.kills import harness  # noqa: E402
from tests.kills.harness import At, Kill, Lineage  # noqa: E402

LAST_RUN = HERE / "last-run.txt"
LEAST = 40
SLOW_SAVE = 0.1
SEED = 20

# In the order in which they can come in one run of two seeds.
EVERYWHERE = (
    At("start half recipe.json"),
    At("train"),
    At("save half checkpoint.npz"),
    At("save written checkpoint.npz", 2),
    At("start cut rows.jsonl"),
    At("save replaced checkpoint.npz"),
    At("evaluate middle"),
    At("probe"),
    At("train half rows.jsonl"),
    At("train half timing.jsonl"),
    At("finish half weights.npz"),
    At("finish written weights.npz"),
    At("finish half result.json"),
    At("finish written result.json"),
    At("finish replaced result.json"),
    At("save half checkpoint.npz", 2),
    At("finish replaced result.json"),
)
FEW = (
    At("train"),
    At("save half checkpoint.npz", 2),
    At("evaluate middle"),
    At("finish half result.json"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=48, help=f"at least {LEAST} are written down")
    wanted = parser.parse_args().kills
    begin, names = time.monotonic(), list(harness.RECIPES)
    # Read before the run, so that the commit is the one that was run.
    commit = commit_of_checkout()
    at_moments: list[Lineage] = []
    at_any_time: list[Lineage] = []
    with tempfile.TemporaryDirectory(prefix="noisescale-kills-") as folder:
        for number, name in enumerate(names):
            scratch = Path(folder) / name
            known = harness.reference(name, scratch / "known", SLOW_SAVE)
            tell(begin, f"{name}: left alone, {known.seconds:.1f} seconds")
            moments = FEW if number else EVERYWHERE
            # Compiled anew by every process in one of the recipes.
            found = harness.lineage(
                known, scratch / "moments", moments, every_look=True, cached=name != "host"
            )
            at_moments.append(found)
            tell_lineage(begin, found)
            share = wanted * (number + 1) // len(names) - wanted * number // len(names)
            for found in harness.at_any_time(known, scratch, share, SEED + number):
                at_any_time.append(found)
                tell_lineage(begin, found)
    text = report(at_moments, at_any_time, commit, time.monotonic() - begin)
    if wanted >= LEAST:
        LAST_RUN.write_text(text)
    print(text, end="")
    return int(any(found.differences for found in [*at_moments, *at_any_time]))


def tell(begin: float, text: str) -> None:
    """Progress, with the seconds so far."""
    print(f"{time.monotonic() - begin:5.0f} s  {text}", file=sys.stderr, flush=True)


def tell_lineage(begin: float, found: Lineage) -> None:
    """One line per kill and per difference."""
    for kill in found.kills:
        at = "no checkpoint" if kill.update is None else f"checkpoint of update {kill.update}"
        equal = "equal" if kill.equal else "NOT EQUAL"
        text = f"{kill.recipe}: killed after {kill.seconds:.2f} s in {kill.event!r}, {at}; {equal}"
        tell(begin, text)
    for text in found.differences:
        tell(begin, f"DIFFERENCE: {text}")


def report(
    at_moments: list[Lineage], at_any_time: list[Lineage], commit: str, seconds: float
) -> str:
    """What last-run.txt says."""
    moments = [kill for found in at_moments for kill in found.kills]
    times = [kill for found in at_any_time for kill in found.kills]
    every = [*at_moments, *at_any_time]
    several = sum(len(found.kills) > 1 for found in at_any_time)
    lines = [
        f"kills: {len(times)} at uniform times, {len(moments)} at given moments, in {len(every)} "
        f"runs of {len(at_moments)} recipes",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit}, {seconds:.0f} seconds",
        f"Python {platform.python_version()}, JAX {version('jax')}",
        f"{several} of the {len(at_any_time)} runs killed at uniform times were killed twice or "
        "three times",
        "",
        "phase      uniform times  given moments",
    ]
    phases = [Counter(kill.phase for kill in kills) for kills in (times, moments)]
    for phase in ("start", "train", "evaluate", "probe", "save", "finish", "done"):
        lines.append(f"{phase:<10} {phases[0][phase]:>13} {phases[1][phase]:>14}")
    lines.append(f"{'all':<10} {len(times):>13} {len(moments):>14}")
    lines += ["", *before_checkpoint(times, moments), ""]
    found = [
        f"{lineage.kills[0].recipe if lineage.kills else '?'}: {text} "
        f"(killed in {', '.join(kill.event for kill in lineage.kills)})"
        for lineage in every
        for text in lineage.differences
    ]
    if not found:
        found = ["all equal: rows.jsonl and weights.npz byte for byte, SHA-256 of the weights"]
    return "\n".join([*lines, *found]) + "\n"


def before_checkpoint(times: list[Kill], moments: list[Kill]) -> list[str]:
    """Kills of a seed that had no checkpoint yet, and kills that left a draft."""
    kills = [*times, *moments]
    without = sum(not kill.checkpoint for kill in kills)
    drafts = sum(any(harness.DRAFT.fullmatch(name) for name in kill.files) for kill in kills)
    return [
        f"before the seed's first checkpoint: {without}",
        f"with a file half written or not yet in its place: {drafts}",
    ]


def commit_of_checkout() -> str:
    """The commit, "+ changes" if a file differs from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    own = f":!{LAST_RUN.relative_to(ROOT)}"
    changed = git("status", "--porcelain", "--", ".", own)
    return (git("rev-parse", "HEAD") or "unknown") + (" + changes" if changed else "")


if __name__ == "__main__":
    sys.exit(main())
