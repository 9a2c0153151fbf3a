"""What scheduler and workers logged, put together in one file when a run ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from distributed import Client

from pipeline.console import printable
from pipeline.durability import write_file
from pipeline.errors import StoreError

Lines = list[str]


def check_logfile(path: str | os.PathLike[str]) -> None:
    """See that a log can be written.

    Raises
    ------
    StoreError
        If there is no such folder, or the path is one.
    """
    folder = Path(path).absolute().parent
    if not folder.is_dir() or Path(path).is_dir() or not os.access(folder, os.W_OK):
        raise StoreError(f"--logfile {path}: {folder} has to be a folder that can be written, and the log a file in it")


def fetch_logs(client: Client) -> dict[str, Lines]:
    """Lines of the scheduler's log and of each worker's; those that do not answer any more are left out."""
    found: dict[str, Lines] = {}
    with contextlib.suppress(Exception):
        found["scheduler"] = log_lines(client.get_scheduler_logs())
    with contextlib.suppress(Exception):
        logs = client.get_worker_logs()
        found |= {f"worker {address}": log_lines(records) for address, records in sorted(logs.items())}
    return found


def write_logs(path: str | os.PathLike[str], logs: Mapping[str, Lines]) -> None:
    """Write logs into one file, each under its heading; an older one is replaced.

    Raises
    ------
    OSError
        If the disk does not take them.
    """
    parts = ["\n".join([f"== {heading}", *lines]) for heading, lines in logs.items()]
    write_file(Path(path), ("\n\n".join(parts) + "\n").encode())


def log_lines(records: Iterable[tuple[str, str]]) -> Lines:
    """Records of one of Dask's logs as lines, the oldest first; Dask gives the newest first, with their levels."""
    return [printable(line) for _, text in reversed(list(records)) for line in str(text).splitlines()]
