"""Where a command finds its data set, and fetching it on request."""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from noisescale.errors import InputError


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """--data-dir and --download."""
    add = parser.add_argument
    add(
        "--data-dir",
        metavar="DIR",
        help="where data sets lie that are not embedded (default: $NOISESCALE_DATA)",
    )
    add("--download", action="store_true", help="fetch the data set into that folder first")


def data_dir_of(options: argparse.Namespace, dataset: str) -> Path | None:
    """The folder of the data, filled where --download says so; None: none was named.

    Args:
        dataset: its name; "digits" has no files.
    """
    named = options.data_dir or os.environ.get("NOISESCALE_DATA")
    if options.data_dir == "":
        raise InputError("--data-dir is empty: give the name of a folder")
    if options.download and dataset != "digits":
        if not named:
            raise InputError("--download needs a folder: give it with --data-dir")
        _fetch_missing(dataset, Path(named))
    return None if options.data_dir is None else Path(options.data_dir)


def _fetch_missing(dataset: str, folder: Path) -> None:
    """Download what cannot be loaded, with a progress bar on standard error."""
    from noisescale.recipe import DataConfig
    from noisescale.training.data import load_dataset

    try:
        load_dataset(DataConfig(name=dataset), folder)
        return
    except InputError:
        pass
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from noisescale.training.data.download import download

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}

    def report(file: str, done: int, total: int | None) -> None:
        if file not in tasks:
            tasks[file] = bar.add_task(file, total=total)
        bar.update(tasks[file], completed=done, total=total)

    with ExitStack() as stack:
        if sys.stderr.isatty():
            stack.enter_context(bar)
        download(dataset, folder, report=report)
