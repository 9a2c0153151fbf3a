"""Tables of objects in files, CSV or Parquet, written piece by piece; a file is whole or absent."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.durability import publish_file
from pipeline.errors import MissingExtraError, StoreError, WriteError
from pipeline.formats import FORMATS_EXTRA
from pipeline.metadata import OWN_KEY

if TYPE_CHECKING:
    import pandas

Frames = Iterable["pandas.DataFrame"]
PARQUET = ".parquet"


def check_table(path: str | os.PathLike[str]) -> Path:
    """The path of a table that can be written, absolute.

    Raises
    ------
    StoreError
        If its suffix is unknown or its folder missing.
    MissingExtraError
        If Parquet is asked for and pyarrow is not installed.
    """
    text = os.fspath(path)
    table = Path(text).absolute()
    if "://" in text or table.suffix not in TABLES:
        raise StoreError(f"table {text}: a local file that ends in {' or '.join(TABLES)} is needed")
    if not table.parent.is_dir() or table.is_dir():
        raise StoreError(f"table {text}: its folder does not exist, or it is one")
    if table.suffix == PARQUET and importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError(f"{text}: Parquet needs pyarrow: pip install {FORMATS_EXTRA}; or write .csv")
    return table


def write_table(path: Path, frames: Frames, about: Mapping[str, Any]) -> int:
    """Write a table and return how many rows it has.

    Parameters
    ----------
    path : Path
        Ends in .csv or .parquet; what is there is replaced once the new table is whole.
    frames : iterable of pandas.DataFrame
        Pieces with the same columns, at least one.
    about : mapping
        JSON values that Parquet keeps in its metadata: units, where the objects come from.

    Raises
    ------
    WriteError
        If the disk is full or fails; no table is left then.
    """
    temporary = path.with_name(f"{path.name}.partial")
    try:
        rows = TABLES[path.suffix](temporary, frames, about)
        publish_file(temporary, path)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise WriteError(f"cannot write {path}: {reason}; --resume tries again") from error
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _write_csv(path: Path, frames: Frames, about: Mapping[str, Any]) -> int:
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, frame in enumerate(frames):
            frame.to_csv(file, index=False, header=number == 0, lineterminator="\n")
            rows += len(frame)
    return rows


def _write_parquet(path: Path, frames: Frames, about: Mapping[str, Any]) -> int:
    import pyarrow
    from pyarrow import parquet

    rows, writer = 0, None
    try:
        for frame in frames:
            table = pyarrow.Table.from_pandas(frame, preserve_index=False)
            if writer is None:
                kept = {**(table.schema.metadata or {}), OWN_KEY.encode(): json.dumps(dict(about)).encode()}
                schema = table.schema.with_metadata(kept)
                writer = parquet.ParquetWriter(path, schema, compression="zstd")
            writer.write_table(table.cast(schema))
            rows += len(frame)
    finally:
        if writer is not None:
            writer.close()
    return rows


TABLES: dict[str, Callable[[Path, Frames, Mapping[str, Any]], int]] = {".csv": _write_csv, PARQUET: _write_parquet}
