"""Keep the gradient moments of the smallest batch's arms, which results.json does not hold.

python experiments/warmup_or_augmentation/extract.py FOLDER   # the --out of noisescale verify
"""

import json
import sys
from pathlib import Path

from noisescale.record import finite, write_text

HERE = Path(__file__).resolve().parent


def moments(runs: Path) -> dict[str, list[dict[str, list[float]]]]:
    """Of every arm that measured them, a table per seed: update, |g|² of parts and of the batch."""
    found: dict[str, list[dict[str, list[float]]]] = {}
    for path in sorted(runs.glob("*/seed-*/rows.jsonl")):
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        kept = [row for row in rows if row.get("gradient_moments")]
        if kept:
            table = {"update": [row["update"] for row in kept]}
            for key in kept[0]["gradient_moments"]:
                table[key] = [finite(row["gradient_moments"][key]) for row in kept]
            found.setdefault(path.parent.parent.name, []).append(table)
    return found


def main(folder: Path, out: Path) -> Path:
    """Write gradient_moments.json into `out`."""
    target = out / "gradient_moments.json"
    write_text(target, json.dumps(moments(folder / "runs"), allow_nan=False) + "\n")
    return target


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), HERE / "results" / "cifar10"))
