"""`noisescale check`: whether this machine and these libraries compute what training needs."""

import argparse
import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from typing import TYPE_CHECKING, Any

from noisescale.cli import fail
from noisescale.cli.extras import need
from noisescale.cores import usable_cores

if TYPE_CHECKING:
    from noisescale.training.self_test import Check

NEEDED = ("jax", "equinox", "jaxtyping", "optax")
LIBRARIES = ("numpy", "jax", "jaxlib", "equinox", "optax")

KNOWN_BAD = {
    "0.10.2": "computes wrong numbers on CPUs without a word (issue 39103 of JAX)",
    "0.11.0": "crashes on CPUs (issue 39257 of JAX)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.epilog = "example: noisescale check"
    parser.add_argument(
        "--json", action="store_true", help="print the results as JSON on standard output"
    )


def run(options: argparse.Namespace) -> int:
    """Ask, compute, print; exits with 1 if a check fails."""
    need("check", NEEDED)
    import jax

    try:
        jax.devices()
    except Exception as error:  # a bare AssertionError where JAX_PLATFORMS names what is not there
        fail(f"JAX finds no device: {str(error) or type(error).__name__}", 1)
    setting = _setting()
    if not options.json:
        _print_setting(setting)
    checks = _checks()
    failed = [check.name for check in checks if not check.passed]
    if options.json:
        document = {
            "schema": "noisescale.check/1",
            **setting,
            "checks": [_row(check) for check in checks],
            "passed": not failed,
        }
        print(json.dumps(document, indent=1, allow_nan=False))
    else:
        _print_checks(checks)
    if failed:
        fail(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}", 1)
    return 0


def _setting() -> dict[str, Any]:
    """Everything that the numbers may depend on."""
    import jax

    import noisescale

    versions = {"python": platform.python_version(), "noisescale": noisescale.__version__}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # on the path without having been installed
            versions[name] = "unknown"
    precision = getattr(jax.config, "jax_default_matmul_precision", None)
    return {
        "devices": _devices(),
        "versions": versions,
        "default_matmul_precision": "default" if precision is None else str(precision),
        "threads": usable_cores(),
        "known_bad": KNOWN_BAD.get(versions["jax"]),
    }


def _devices() -> list[dict[str, Any]]:
    """The devices that JAX uses, those of a kind together."""
    import jax

    kinds: dict[tuple[str, str], dict[str, Any]] = {}
    for device in jax.devices():
        kind = (device.platform, device.device_kind)
        if kind not in kinds:
            kinds[kind] = {
                "platform": device.platform,
                "kind": device.device_kind,
                "number": 0,
                "memory_bytes": _memory(device),
            }
        kinds[kind]["number"] += 1
    return list(kinds.values())


def _memory(device: Any) -> int | None:
    """How much of a device's memory this process may use, if the device tells."""
    try:
        limit = (device.memory_stats() or {}).get("bytes_limit")
    except Exception:  # some platforms raise instead of answering None
        return None
    return None if limit is None else int(limit)


def _checks() -> "list[Check]":
    from rich.console import Console

    from noisescale.training.self_test import check_names, run_checks

    numbers = {name: number for number, name in enumerate(check_names(), 1)}
    # On standard error, and nothing where that is a file.
    with Console(stderr=True).status("compiling") as status:
        return run_checks(lambda name: status.update(f"{name} ({numbers[name]} of {len(numbers)})"))


def _row(check: "Check") -> dict[str, Any]:
    """A check for JSON, which has no NaN."""
    return {
        "name": check.name,
        "what": check.what,
        "deviation": _finite(check.deviation),
        "tolerance": check.tolerance,
        "passed": check.passed,
        "seconds": check.seconds,
        "error": check.error,
        "default_precision_deviation": _finite(check.default_precision_deviation),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _print_setting(setting: dict[str, Any]) -> None:
    from rich.markup import escape

    from noisescale.cli.tables import Output

    console = Output()
    for device in setting["devices"]:
        memory = device["memory_bytes"]
        told = "" if memory is None else f", {memory / 2**30:.1f} GiB usable each"
        console.print(
            f"[bold]{device['platform']}[/bold]: {device['number']} × {escape(device['kind'])}"
            f"{told}"
        )
    versions = (f"{name} {number}" for name, number in setting["versions"].items())
    console.print(escape(", ".join(versions)))
    console.print(
        f"threads: {setting['threads']}, precision of matrix products: "
        f"{escape(setting['default_matmul_precision'])} (in the checks: highest)"
    )
    if setting["known_bad"]:
        console.print(
            f"[red]known to be bad[/red]: JAX {setting['versions']['jax']} {setting['known_bad']}; "
            "install another version"
        )


def _print_checks(checks: "Sequence[Check]") -> None:
    from rich.markup import escape

    from noisescale.cli.tables import Output, table

    rough = any(check.default_precision_deviation is not None for check in checks)
    head = ["check", "deviation", "tolerance", "", "seconds"]
    rows = []
    for check in checks:
        row = [
            check.name,
            f"{check.deviation:.1e}",
            f"{check.tolerance:.0e}",
            "[green]ok[/green]" if check.passed else "[red]FAILED[/red]",
            f"{check.seconds:.1f}",
        ]
        if rough:
            value = check.default_precision_deviation
            row.append("" if value is None else f"{value:.1e}")
        rows.append(row)
    console = Output()
    right = {1, 2, 4}
    if rough:
        head.append("at default precision")
        right.add(5)
    console.print(table(head, rows, right=right))
    console.print("deviations: of the largest true value; of random numbers, in standard errors")
    for check in checks:
        if not check.passed:
            reason = f": {check.error}" if check.error else ""
            console.print(f"[red]{check.name}[/red] ({escape(check.what)}){escape(reason)}")
    passed = sum(check.passed for check in checks)
    console.print(f"{passed} of {len(checks)} checks passed")
