"""Outputs in one file, made from the chunks of a finished level 0: which module writes which suffix.

A format is imported when it is needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.writers.layout import Picture, Readable, check_axes


@dataclass(frozen=True)
class Writer:
    """A row of the table.

    Parameters
    ----------
    module : str
        Holds ``check(picture)``, ``write(array, picture, temporary, path)`` and ``read_record(path)``.
    axes : str, optional
        The order that its files have, whatever is asked for.
    """

    module: str
    axes: str | None = None

    def order(self, wanted: str) -> str:
        """Axes of the file where `wanted` was asked for."""
        return self.axes or wanted

    def check(self, picture: Picture) -> None:
        """Refuse an image that such files cannot hold.

        Raises
        ------
        StoreError
            Naming what was given and what is allowed.
        """
        check_axes(picture.spec, picture.order)
        importlib.import_module(self.module).check(picture)

    def write(self, array: Readable, picture: Picture, temporary: Path, path: Path) -> None:
        """Write a file: one pass over the chunks, in memory one of them or a band of them.

        Parameters
        ----------
        array : Readable
            Level 0, axes as in the specification.
        picture : Picture
        temporary, path : Path
            Where the file is made, and the name it gets once it is whole.

        Raises
        ------
        WriteError
            If the disk is full or fails; `path` is as it was.
        """
        importlib.import_module(self.module).write(array, picture, temporary, path)

    def read_record(self, path: Path) -> Mapping[str, Any] | None:
        """The record in a file of ours; None if it is not one."""
        record = importlib.import_module(self.module).read_record(path)
        return record if isinstance(record, dict) else None


WRITERS = {
    ".h5": Writer("pipeline.writers.hdf5"),
    ".npy": Writer("pipeline.writers.npy"),
    ".tif": Writer("pipeline.writers.tiff", "tzcyx"),
    ".tiff": Writer("pipeline.writers.tiff", "tzcyx"),
    ".png": Writer("pipeline.writers.png", "tzyxc"),
}

__all__ = ["WRITERS", "Picture", "Readable", "Writer"]
