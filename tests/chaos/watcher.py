"""A process that keeps looking at an output that is being made: ``python -m tests.chaos.watcher OUT EXPECTED``.

Whatever has its final name must be whole at every moment: a chunk has the bytes of the undisturbed run's, and an output
has all of them and says that it is complete. It stops when its stdin ends, and prints what it saw as one JSON line.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import zarr

from pipeline.local_output import LocalOutput, read_local_record

PAUSE = 1.0  # seconds between two looks, each of which lists thousands of files
OLD = 50  # chunks seen before that each look reads again


@dataclass
class Seen:
    """What was seen, and what should not have been there."""

    looks: int = 0
    chunks_read: int = 0
    opened_whole: int = 0
    wrong: list[str] = field(default_factory=list)


class Watcher:
    """Looks at an output.

    Parameters
    ----------
    out, expected : Path
        The output, there or not, and one made by an undisturbed run.
    """

    def __init__(self, out: Path, expected: Path) -> None:
        self._output = LocalOutput(out.absolute())
        self._expected = expected
        self._wanted = set(chunks(expected))
        self._known: list[str] = []
        self.seen = Seen()

    def look(self) -> None:
        """Look once."""
        self.seen.looks += 1
        for folder in (self._output.partial, self._output.target):
            if not folder.is_dir():
                continue
            there = set(chunks(folder))
            new = there - set(self._known)
            again = self._known[self.seen.looks % 7 :: max(len(self._known) // OLD, 1)]
            self._known += sorted(new)
            for key in [*new, *(key for key in again if key in there)]:
                self._read(folder, key)
        self._open(self._output.target)
        self._check_partial(self._output.partial)

    def _read(self, folder: Path, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # the folder has just got its final name
            contents = (folder / key).read_bytes()
            self.seen.chunks_read += 1
            if key not in self._wanted or contents != (self._expected / key).read_bytes():
                self.seen.wrong.append(f"{folder.name}/{key}: {len(contents)} bytes")

    def _open(self, target: Path) -> None:
        """An output under its own name is an image that says it is complete, and has all chunks."""
        if not target.exists():
            return
        group = zarr.open_group(target, mode="r")
        assert len(list(group.arrays())) > 0
        record = read_local_record(target)
        if record is None or not record.get("complete"):
            self.seen.wrong.append(f"{target.name} is there and not complete")
        self._check_all(target)
        self.seen.opened_whole += 1

    def _check_partial(self, partial: Path) -> None:
        """On its way it is no image to anybody, until all is there and it is about to get its name."""
        record = read_local_record(partial)
        if record is not None and record.get("complete"):
            self._check_all(partial)
            return
        with contextlib.suppress(FileNotFoundError):
            if "ome" in json.loads((partial / "zarr.json").read_bytes())["attributes"]:
                self.seen.wrong.append(f"{partial.name} is an image and not complete")

    def _check_all(self, folder: Path) -> None:
        missing = self._wanted - set(chunks(folder))
        if missing and folder.exists():  # gone meanwhile: it has got its final name
            self.seen.wrong.append(f"{folder.name} calls itself complete and lacks {len(missing)} chunks")


def chunks(folder: Path) -> Iterator[str]:
    """Names of all chunks that there are, those on their way left out."""
    for place, _, names in os.walk(folder):
        within = os.path.relpath(place, folder)
        if "c" in within.split(os.sep):
            yield from (f"{within}/{name}" for name in names if not name.endswith(".partial"))


@contextlib.contextmanager
def watching(out: Path, expected: Path) -> Iterator[dict[str, Any]]:
    """Watch in a process of its own; what it saw is in the dictionary at the end.

    Raises
    ------
    AssertionError
        If something had its final name and was not whole.
    """
    found: dict[str, Any] = {}
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(out), str(expected)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield found
    finally:
        said, _ = process.communicate()  # its stdin ends
        assert process.returncode == 0
        found |= json.loads(said)
    assert not found["wrong"], found["wrong"][:5]


def main() -> None:
    """Look until stdin ends."""
    watcher, ended = Watcher(Path(sys.argv[1]), Path(sys.argv[2])), threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    while not ended.is_set():
        watcher.look()
        time.sleep(PAUSE)
    watcher.look()
    print(json.dumps(asdict(watcher.seen)))


if __name__ == "__main__":
    main()
