"""Rows of measured objects on disk: one sorted file for each block, read back window by window.

A window holds all rows of the objects that it holds. So the table of millions of objects is made with a few windows in
memory, however many there are; only a single object's rows must fit: 150 bytes and 32 for each channel for every cell
of 64 x 64 x 64 voxels that it touches.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.durability import write_errors, write_file
from pipeline.measurement import empty_rows

Array = npt.NDArray[Any]
Key = tuple[int, int]
WINDOW_ROWS = 1 << 18  # about 70 MB with a few channels
STEP = 256  # rows for each that is looked at to place the windows
FOLDER_FILES = 1000


@dataclass(frozen=True)
class _File:
    path: Path
    first: Key
    last: Key


def rows_path(folder: Path, number: int) -> Path:
    """The file of a block."""
    return folder / str(number // FOLDER_FILES) / f"{number}.npy"


def write_rows(path: Path, rows: Array) -> None:
    """Write the rows of a block, sorted by time and id; the file is whole or absent.

    Raises
    ------
    WriteError
        If the disk is full or fails.
    """
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    with write_errors(path):
        write_file(path, buffer.getbuffer())


def read_windows(paths: Sequence[Path], n_channels: int, most: int = WINDOW_ROWS) -> Iterator[Array]:
    """All rows, in windows of about `most` rows that do not cut objects, ordered by time and id; at least one.

    Parameters
    ----------
    paths : sequence of Path
        Files of `write_rows`.
    n_channels : int
        Of the rows.
    most : int
        Rows of a window.
    """
    files, samples = [], [empty_rows(0)[["t", "id"]]]
    for path in paths:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(rows):
            files.append(_File(path, _key(rows[0]), _key(rows[-1])))
            samples.append(np.array(rows[::STEP][["t", "id"]], samples[0].dtype))
    starts = _place_windows(np.concatenate(samples), most)
    for low, high in zip(starts, [*starts[1:], None], strict=True):
        parts = [empty_rows(n_channels)]
        for file in files:
            if (high is None or file.first < high) and file.last >= low:
                rows = np.load(file.path, mmap_mode="r", allow_pickle=False)
                parts.append(np.array(rows[_place(rows, low) : len(rows) if high is None else _place(rows, high)]))
        yield np.concatenate(parts)


def _key(row: Any) -> Key:
    return int(row["t"]), int(row["id"])


def _place_windows(samples: Array, most: int) -> list[Key]:
    """Where each window begins: as many samples in each as stand for its rows."""
    ordered = samples[np.lexsort((samples["id"], samples["t"]))][:: max(most // STEP, 1)]
    return sorted({(0, 0), *map(_key, ordered[1:])})


def _place(rows: Array, key: Key) -> int:
    """First row that does not come before a key."""
    low, high = (int(np.searchsorted(rows["t"], key[0], side)) for side in ("left", "right"))
    return low + int(np.searchsorted(rows["id"][low:high], np.uint64(key[1])))
