"""Files of a job's results, opened for people who ask over the network: no link is followed, nothing outside opened.

Each part of a path is opened below the one before it, as the system knows it and not as it is called, so a folder that
is replaced by a link meanwhile leads nowhere either.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import UnknownError
from pipeline.jobs.fields import shorten

PART = re.compile(r"(?=[^.]|\.z(?:array|group|attrs|metadata)\Z)[A-Za-z0-9._-]{1,255}", re.ASCII)
MOST_PARTS = 16
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe that lies there would wait for ever


def open_result_file(folder: Path, path: str) -> tuple[BinaryIO, os.stat_result]:
    """Open a file of results.

    Parameters
    ----------
    folder : Path
        Of the job.
    path : str
        Below it, parts separated by ``/``: letters, digits, ``.``, ``_`` and ``-``; none begins with a point but
        the documents of zarr.

    Raises
    ------
    UnknownError
        If there is no such file, or it is none of the results'.
    """
    if not is_allowed(path):
        raise _unknown(path)
    parts = path.split("/")
    handle = -1
    try:
        handle = os.open(folder, FOLDER_FLAGS)
        for part in parts[:-1]:
            below = os.open(part, FOLDER_FLAGS, dir_fd=handle)
            os.close(handle)
            handle = below
        file = os.open(parts[-1], FILE_FLAGS, dir_fd=handle)
    except OSError:
        raise _unknown(path) from None
    finally:
        if handle >= 0:
            os.close(handle)
    about = os.fstat(file)
    if not stat.S_ISREG(about.st_mode):
        os.close(file)
        raise _unknown(path)
    return os.fdopen(file, "rb"), about


def is_allowed(path: str) -> bool:
    """Whether a path can be one of a file of results."""
    parts = path.split("/")
    return len(parts) <= MOST_PARTS and all(PART.fullmatch(part) for part in parts)


def list_results(folder: Path) -> dict[str, int]:
    """What lies in a folder of results by name: the size of a file in bytes, 0 of a zarr folder; sorted."""
    try:
        with os.scandir(folder) as found:
            shown = [entry for entry in found if PART.fullmatch(entry.name)]
            sizes = {
                entry.name: entry.stat(follow_symlinks=False).st_size if entry.is_file(follow_symlinks=False) else 0
                for entry in shown
                if entry.is_file(follow_symlinks=False)
                or (entry.is_dir(follow_symlinks=False) and entry.name.endswith(".zarr"))
            }
    except OSError:
        return {}
    return dict(sorted(sizes.items()))


def _unknown(path: str) -> UnknownError:
    return UnknownError(f"There is no file {shorten(path)} in these results.", "file")
