"""Whether an output would destroy what it is made from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.durability import ZARR_DOCUMENTS
from pipeline.errors import StoreError
from pipeline.local_output import LocalOutput
from pipeline.output import Output


def refuse_collision(output: Output, inputs: Iterable[str]) -> None:
    """Refuse an output that is an input, lies inside one, or contains one; links are followed.

    The names count that the output has on its way, too: a partial output is removed or gone on with.

    Parameters
    ----------
    output : Output
    inputs : iterable of str
        Files, folders, or URLs; datasets inside a file may follow its name.

    Raises
    ------
    StoreError
        Naming both.
    """
    if not isinstance(output, LocalOutput):
        _refuse_same_place(str(output.target), [path for path in inputs if "://" in path])
        return
    roots = [_root(path) for path in inputs if "://" not in path]
    for path in (output.target, output.partial, output.replaced, output.temporary):
        ours = Path(os.path.realpath(path))
        for root in roots:
            if ours == root:
                raise StoreError(f"{path} is the input, which is never written to; choose another OUT")
            if root in ours.parents:
                raise StoreError(f"{path} lies in the input {root}, which is never written to; choose another OUT")
            if ours in root.parents:
                raise StoreError(f"{path} contains the input {root} and would replace it; choose another OUT")


def _refuse_same_place(ours: str, theirs: Iterable[str]) -> None:
    for url in theirs:
        if f"{url}/".startswith(f"{ours}/") or f"{ours}/".startswith(f"{url}/"):
            raise StoreError(f"{ours} is the input {url}, or one lies in the other; choose another OUT")


def _root(path: str) -> Path:
    """The file or Zarr folder that a path names or passes through."""
    whole = Path(os.path.realpath(path))
    for part in reversed((whole, *whole.parents)):
        if part.is_file() or any((part / name).is_file() for name in ZARR_DOCUMENTS):
            return part
    return whole
