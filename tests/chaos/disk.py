"""A small disk of its own for an output, which can be filled to the last byte and emptied again."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

PIECE = b"\0" * (1 << 20)


class Disk:
    """A mounted file system.

    Parameters
    ----------
    folder : Path
        Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        self.is_full = False

    def fill(self) -> None:
        """Take all space that is left."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(PIECE)
        self.is_full = True

    def free(self) -> None:
        """Give it back."""
        self._filler.unlink(missing_ok=True)
        self.is_full = False


@contextlib.contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[Disk]:
    """Mount memory of so many bytes at a folder.

    Raises
    ------
    PermissionError
        If this user may not mount.
    """
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        way = "unshare --user --map-root-user --mount python -m tests.chaos"
        raise PermissionError(f"a disk to be filled cannot be mounted ({mounted.stderr.strip()}); run: {way}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
