"""Where an output lies while it is made and after, and whether a run may begin, go on or is done already.

For ``out.zarr``, or a single file such as ``out.h5``, the work goes into ``out.partial.zarr`` beside it. Its root
document holds a record: digest, layout, ``complete: false``. A finished output holds the same record with
``complete: true``, in its root document, in an attribute (HDF5), a tag (TIFF), a text (PNG) or ``out.npy.json`` (NPY).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from pipeline.durability import ZARR_DOCUMENTS, lock, remove, unlock
from pipeline.errors import StoreError
from pipeline.images import ImageSpec, check_names
from pipeline.metadata import OWN_KEY, ZARR_FORMATS, OmeVersion
from pipeline.writers import WRITERS, Picture

Mode = Literal["new", "overwrite", "resume"]
Record = Mapping[str, Any]
SUFFIXES = (".zarr", *WRITERS)

_DECIDES_VALUES = ("name", "dims", "shape", "dtype", "reduce")


class State(Enum):
    """What is left to do."""

    BEGIN = "begin"
    CONTINUE = "continue"
    FINISHED = "finished"


@dataclass(frozen=True)
class Output:
    """The paths of one output, all in one folder.

    Parameters
    ----------
    target : Path
        Where the finished output lies, absolute.
    """

    target: Path

    @property
    def partial(self) -> Path:
        """The zarr folder that the work goes into."""
        return self.target.with_name(f"{self.target.stem}.partial.zarr")

    @property
    def replaced(self) -> Path:
        """Where the output that is replaced lies for a moment."""
        return self.target.with_name(f"{self.target.stem}.replaced{self.target.suffix}")

    @property
    def temporary(self) -> Path:
        """The single file before it gets its name."""
        return self.target.with_name(f"{self.target.stem}.partial{self.target.suffix}")

    @property
    def single(self) -> bool:
        """Whether the output is one file rather than a zarr folder."""
        return self.target.suffix in WRITERS


def locate(path: str | os.PathLike[str]) -> Output:
    """Check the name and the folder of an output.

    Raises
    ------
    StoreError
        If the suffix is unknown, the path is no local one, or its folder is missing.
    """
    text = os.fspath(path)
    if "://" in text:
        raise StoreError(f"cannot write to {text}: outputs go to local folders")
    target = Path(text).absolute()
    if target.suffix not in SUFFIXES:
        raise StoreError(f"{text} ends in {target.suffix or 'nothing'!r}; outputs end in {', '.join(SUFFIXES)}")
    if not target.parent.is_dir():
        raise StoreError(f"the folder of {text} does not exist: {target.parent}")
    return Output(target)


def make_record(
    output: Output,
    images: Sequence[ImageSpec],
    version: OmeVersion,
    provenance: Record,
    digest: str,
    final_axes: str,
    compress: bool = False,
) -> dict[str, Any]:
    """The record of an output that is begun: JSON values, `complete` is false.

    Raises
    ------
    StoreError
        If the images, the version or the axes do not fit the kind of output.
    """
    check_names(images)
    if version not in ZARR_FORMATS:
        raise StoreError(f"OME-Zarr version {version!r} is not one of {', '.join(ZARR_FORMATS)}")
    if version == "0.4" and any(spec.shards for spec in images):
        raise StoreError("OME-Zarr 0.4 knows no shards; ask for version 0.5")
    if output.single and len(images) > 1:
        names = ", ".join(spec.name for spec in images)
        raise StoreError(f"{output.target.name} holds one image, {len(images)} were asked for ({names}); use .zarr")
    kept: dict[str, Any] = {"version": version}
    if output.single:
        writer = WRITERS[output.target.suffix]
        kept = {"final_axes": writer.order(final_axes), "compress": compress}
        writer.check(Picture(images[0], kept["final_axes"], {}))
    documents = [spec.document() for spec in images]
    record = {"digest": digest, "output": output.target.name, "images": documents, "provenance": provenance, **kept}
    return {**json.loads(json.dumps(record)), "complete": False}


def read_record(path: Path) -> Record | None:
    """The record of an output, finished or partial; None if there is none that can be read."""
    if not path.is_dir():
        known = path.suffix in WRITERS and path.is_file()
        return WRITERS[path.suffix].read_record(path) if known else None
    for name in ("zarr.json", ".zattrs"):
        try:
            document = json.loads((path / name).read_text())
            record = document["attributes"][OWN_KEY] if name == "zarr.json" else document[OWN_KEY]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        return record if isinstance(record, dict) else None
    return None


def admit(output: Output, record: Record, mode: Mode) -> State:
    """Decide whether a run begins, goes on or is done; removes what `mode` allows to remove.

    Parameters
    ----------
    output : Output
        Its paths.
    record : mapping
        The record that this run would write.
    mode : {"new", "overwrite", "resume"}
        "new" takes nothing that exists. "overwrite" starts again; the finished output stays until it is replaced.
        "resume" goes on with a partial output of the same record, is done where a finished one has it, and begins
        where there is nothing.

    Raises
    ------
    StoreError
        If something exists that the mode does not allow, saying what does.
    """
    _restore(output)
    if mode == "resume":
        return _resume(output, record)
    if mode == "overwrite":
        _clear(output)
    else:
        _refuse_existing(output, record)
    return State.BEGIN


def exists(path: Path) -> bool:
    """Whether something has this name, be it a dangling link."""
    return os.path.lexists(path)


def difference(wanted: Record, found: Record | None, layout: bool) -> str | None:
    """Say at what a record differs from the wanted one; None if at nothing.

    Parameters
    ----------
    wanted, found : mapping
        The two records; None for a found one that cannot be read.
    layout : bool
        Whether everything must agree (to go on), or just what decides values (to be done).
    """
    if found is None:
        return "it holds no record of how it was made"
    ours, theirs = _flat(wanted, layout), _flat(found, layout)
    for key, value in ours.items():
        if theirs.get(key) != value:
            return f"its {key} is {_short(theirs.get(key))}, this run's {_short(value)}"
    return None


def _flat(record: Record, layout: bool) -> dict[str, Any]:
    images = {image.get("name"): image for image in record.get("images", [])}
    flat = {key: record.get(key) for key in ("digest", "version", "final_axes")}
    flat["list of images"] = list(images)
    for name, image in images.items():
        kept = image if layout else {k: image.get(k) for k in _DECIDES_VALUES}
        flat |= {f"{key} of {name}": value for key, value in kept.items()}
    if layout:
        flat["output"] = record.get("output")
    return flat


def _short(value: Any, limit: int = 80) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _restore(output: Output) -> None:
    """Put back an output that was set aside when a run was killed in the midst of replacing it."""
    if exists(output.replaced):
        if exists(output.target):
            remove(output.replaced)
        else:
            output.replaced.rename(output.target)


def _refuse_existing(output: Output, record: Record) -> None:
    if exists(output.target):
        raise StoreError(f"{output.target} exists; choose another OUT, or --overwrite it")
    if exists(output.partial):
        differs = difference(record, read_record(output.partial), layout=True)
        note = f" (not this one: {differs})" if differs else ""
        ways = "--overwrite starts again" if differs else "--resume goes on with it, --overwrite starts again"
        raise StoreError(f"{output.partial} is left from an unfinished run{note}; {ways}")


def _clear(output: Output) -> None:
    """Remove a partial output to start again, after looking at what would be replaced in the end."""
    for path in (output.target, output.partial):
        if exists(path) and not _replaceable(path, folder=path.suffix == ".zarr"):
            raise StoreError(f"{path} is not an output (a zarr folder or a file), it will not be overwritten")
    if exists(output.partial):
        _discard(output.partial)


def _discard(partial: Path) -> None:
    if partial.is_dir() and not partial.is_symlink():
        lock(partial)
    try:
        remove(partial)
    finally:
        unlock(partial)


def _replaceable(path: Path, folder: bool) -> bool:
    if not path.is_dir():
        return path.is_file() or path.is_symlink()
    return folder and (any((path / name).is_file() for name in ZARR_DOCUMENTS) or not any(path.iterdir()))


def _resume(output: Output, record: Record) -> State:
    done = read_record(output.target) if exists(output.target) else None
    left = read_record(output.partial) if exists(output.partial) else None
    if done is not None and done.get("complete") and difference(record, done, layout=False) is None:
        if left is not None and left.get("digest") == record["digest"]:
            _discard(output.partial)
        return State.FINISHED
    if output.partial.is_dir() and not any(output.partial.iterdir()):
        output.partial.rmdir()
    if exists(output.partial):
        differs = difference(record, left, layout=True)
        if differs:
            raise StoreError(f"cannot go on with {output.partial}: {differs}; run as before, or --overwrite")
    if exists(output.target) and not (left and left.get("replaces")):
        differs = difference(record, done, layout=False) or "it is incomplete"
        raise StoreError(f"{output.target} is another output: {differs}; choose another OUT, or --overwrite it")
    return State.CONTINUE if exists(output.partial) else State.BEGIN
