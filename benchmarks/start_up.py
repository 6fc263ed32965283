"""Start-up against `import numpy`: ratios of whole processes, alternating in one session.

python benchmarks/start_up.py
"""

import statistics
import subprocess
import sys
import time

EQUIVALENT = (
    "from noisescale.cli import main; main('equivalent --epochs 200 --batch-size 128 "
    "--learning-rate 0.1 --momentum 0.9 --milestones 60 120 160 --decay-factor 5 "
    "--train-size 50000'.split())"
)
COMMANDS = {
    "import numpy": "import numpy",
    "import noisescale": "import noisescale",
    "noisescale equivalent": EQUIVALENT,
}
ROUNDS = 25


def seconds(code: str) -> float:
    """Wall time of a fresh interpreter."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print median times and quartiles of the ratios to `import numpy`."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS + 1):
        for name, code in COMMANDS.items():
            times[name].append(seconds(code))
    peer = times["import numpy"][1:]
    for name, measured in times.items():
        ratios = [a / b for a, b in zip(measured[1:], peer, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"{name:22s} {1e3 * statistics.median(measured[1:]):6.0f} ms   "
            f"ratio {middle:.2f} (quartiles {low:.2f} – {high:.2f})"
        )


if __name__ == "__main__":
    main()
