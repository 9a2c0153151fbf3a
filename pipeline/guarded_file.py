"""A file that takes everything written to it, and remembers when the disk did not.

The HDF5 library cannot close a file that it failed to write: it keeps it open and ends the process with a crash. It
is given this file instead, which never fails; the error is raised after the library has let go.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class GuardedFile(io.FileIO):
    """A new file, open for reading and writing, without a buffer.

    Parameters
    ----------
    path : Path
        Its name; an older file of this name is emptied.

    Attributes
    ----------
    error : OSError or None
        The first failure; what was written after it is lost.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        """Write all of a buffer at the present position, or remember why not."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while len(left) and self.error is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size, or remember why not."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return self.tell()
