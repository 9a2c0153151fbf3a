"""Where an output lies while it is made and after, and whether a run may begin, go on or is done already.

For ``out.zarr``, or a single file such as ``out.h5``, the work goes into ``out.partial.zarr`` beside it. Its root
document holds a record: digest, layout, ``complete: false``. A finished output holds the same record with
``complete: true``, in its root document, in an attribute (HDF5), a tag (TIFF), a text (PNG) or ``out.npy.json`` (NPY).

How this is done in a folder is in `pipeline.local_output`, how in a bucket of S3 in `pipeline.bucket_output`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Protocol

from zarr.abc.store import Store as ZarrStore

from pipeline.errors import MissingExtraError, StoreError
from pipeline.images import ImageSpec, check_names, final_image
from pipeline.local_output import LocalOutput
from pipeline.metadata import ZARR_FORMATS, OmeVersion
from pipeline.writers import WRITERS, Picture

Mode = Literal["new", "overwrite", "resume"]
Record = Mapping[str, Any]
SUFFIXES = (".zarr", *WRITERS)
BUCKET_SCHEME = "s3://"

_DECIDES_VALUES = ("name", "dims", "shape", "dtype", "reduce")


class State(Enum):
    """What is left to do."""

    BEGIN = "begin"
    CONTINUE = "continue"
    FINISHED = "finished"


class Output(Protocol):
    """One output: its target, and the partial output that becomes it. Frozen, hashable, small to pickle.

    Its methods raise OSError where the disk or the bucket does not do what is asked.
    """

    @property
    def target(self) -> Path | str: ...
    @property
    def partial(self) -> Path | str: ...
    @property
    def name(self) -> str: ...
    @property
    def single(self) -> bool: ...
    @property
    def free_bytes(self) -> int | None: ...
    def made_by(self, record: Record) -> Output: ...
    def exists(self) -> bool: ...
    def is_begun(self) -> bool: ...
    def finished_record(self) -> Record | None: ...
    def partial_record(self) -> Record | None: ...
    def restore(self) -> None: ...
    def check_replaceable(self) -> None: ...
    def discard(self) -> None: ...
    def drop_empty(self) -> None: ...
    def claim(self) -> None: ...
    def release(self) -> None: ...
    def zarr_store(self) -> ZarrStore: ...
    def has(self, key: str) -> bool: ...
    def missing(self, folder: str, keys: Iterable[str]) -> Iterator[str]: ...
    def remove_folder(self, folder: str) -> None: ...
    def publish(self) -> None: ...
    def __hash__(self) -> int: ...


def locate(path: str | os.PathLike[str]) -> Output:
    """Check the name and the folder of an output.

    Raises
    ------
    StoreError
        If the suffix is unknown, the scheme is none that is written to, or its folder is missing.
    MissingExtraError
        If what buckets need is not installed.
    """
    text = os.fspath(path)
    if "://" in text:
        return _locate_bucket(text)
    target = Path(text).absolute()
    if target.suffix not in SUFFIXES:
        raise StoreError(f"{text} ends in {target.suffix or 'nothing'!r}; outputs end in {', '.join(SUFFIXES)}")
    if not target.parent.is_dir():
        raise StoreError(f"the folder of {text} does not exist: {target.parent}")
    return LocalOutput(target)


def _locate_bucket(url: str) -> Output:
    bucket, _, key = url.removeprefix(BUCKET_SCHEME).rstrip("/").partition("/")
    suffix = os.path.splitext(key)[1]
    if not url.startswith(BUCKET_SCHEME):
        raise StoreError(f"cannot write to {url}: outputs go to local folders and to {BUCKET_SCHEME}BUCKET/NAME.zarr")
    if suffix in WRITERS:
        raise StoreError(f"cannot write {suffix} to {BUCKET_SCHEME}: {url}; a bucket takes .zarr, a local folder files")
    if suffix != ".zarr" or not bucket or ".." in key.split("/"):
        raise StoreError(f"{url} is not {BUCKET_SCHEME}BUCKET/NAME.zarr")
    try:
        from pipeline.bucket_output import BucketOutput
    except ImportError as error:
        raise MissingExtraError(f"{url}: needs s3fs: pip install 'voxelforest[cloud]'") from error
    return BucketOutput(bucket, key)


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
    kept: dict[str, Any] = {"version": version}
    if output.single:
        image = final_image(images, output.name)
        writer = WRITERS[os.path.splitext(output.name)[1]]
        kept = {"final_axes": writer.order(final_axes), "compress": compress}
        writer.check(Picture(image, kept["final_axes"], {}))
    documents = [spec.document() for spec in images if spec.role != "scratch"]
    record = {"digest": digest, "output": output.name, "images": documents, "provenance": provenance, **kept}
    return {**json.loads(json.dumps(record)), "complete": False}


def read_record(path: str | os.PathLike[str]) -> Record | None:
    """The record of an output, finished or partial; None if there is none that can be read."""
    return locate(path).finished_record()


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
    output.restore()
    if mode == "resume":
        return _resume(output, record)
    if mode == "overwrite":
        output.check_replaceable()
        output.discard()
    else:
        _refuse_existing(output, record)
    return State.BEGIN


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


def _refuse_existing(output: Output, record: Record) -> None:
    if output.exists():
        raise StoreError(f"{output.target} exists; choose another OUT, or --overwrite it")
    if output.is_begun():
        differs = difference(record, output.partial_record(), layout=True)
        note = f" (not this one: {differs})" if differs else ""
        ways = "--overwrite starts again" if differs else "--resume goes on with it, --overwrite starts again"
        raise StoreError(f"{output.partial} is left from an unfinished run{note}; {ways}")


def _resume(output: Output, record: Record) -> State:
    taken = output.exists()
    done = output.finished_record() if taken else None
    left = output.partial_record()
    if done is not None and done.get("complete") and difference(record, done, layout=False) is None:
        if left is not None and left.get("digest") == record["digest"]:
            output.discard()
        return State.FINISHED
    output.drop_empty()
    begun = output.is_begun()
    if begun:
        differs = difference(record, left, layout=True)
        if differs:
            raise StoreError(f"cannot go on with {output.partial}: {differs}; run as before, or --overwrite")
    if taken and not (left and left.get("replaces")):
        differs = difference(record, done, layout=False) or "it is incomplete"
        raise StoreError(f"{output.target} is another output: {differs}; choose another OUT, or --overwrite it")
    return State.CONTINUE if begun else State.BEGIN
