"""PNG: one plane, grey or with 2, 3 or 4 classes as grey + alpha, RGB, RGBA; 8 or 16 bits.

Written band by band, a row of chunks in memory. By hand, because Pillow knows no 16-bit colour and wants the whole
plane at once. Our record is a text chunk.

Source: https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pipeline.errors import StoreError
from pipeline.metadata import OWN_KEY
from pipeline.writers.layout import Picture, Readable, read_quietly, whole_file

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # grey, grey + alpha, RGB, RGBA
DTYPES = ("uint8", "uint16")
LARGEST = 2**31 - 1
PIECE = 1 << 20  # bytes of compressed values in one chunk of the file
UP = b"\x02"  # filter: each row holds its difference to the one above
RECORD_BYTES = 1 << 24  # more is no record of ours


def check(picture: Picture) -> None:
    """Refuse what is not one plane of 1 to 4 integer channels."""
    spec = picture.spec
    if picture.length("t") > 1 or picture.length("z") > 1:
        sizes = " ".join(f"{a}={n}" for a, n in zip(spec.dims, spec.shape, strict=True))
        raise StoreError(f"PNG holds one plane, the result is {sizes}; choose one with --roi, or write .tif or .zarr")
    if picture.length("c") not in COLOUR_TYPES:
        raise StoreError(f"PNG holds 1 to 4 channels, the result has {picture.length('c')}; write .tif or .zarr")
    if spec.dtype not in DTYPES:
        advice = "write .tif" if spec.name == "features" else "add --dtype uint8, or write .tif"
        raise StoreError(f"PNG holds {' or '.join(DTYPES)}, not {spec.dtype}; {advice}")
    if max(picture.length("y"), picture.length("x")) > LARGEST:
        raise StoreError(f"PNG holds at most {LARGEST} x {LARGEST} pixels; write .zarr")


def write(array: Readable, picture: Picture, temporary: Path, path: Path) -> None:
    """Write the plane; see `pipeline.writers.Writer.write`."""
    depth, channels = 8 * picture.spec.itemsize, picture.length("c")
    header = struct.pack(">IIBBBBB", picture.length("x"), picture.length("y"), depth, COLOUR_TYPES[channels], 0, 0, 0)
    with whole_file(picture, temporary, path), temporary.open("wb") as file:
        file.write(SIGNATURE)
        _put(file, b"IHDR", header)
        text = json.dumps(picture.record).encode("latin-1")
        _put(file, b"tEXt", OWN_KEY.encode() + b"\0" + text)
        for piece in _compressed(_rows(array, picture)):
            _put(file, b"IDAT", piece)
        _put(file, b"IEND", b"")


def read_record(path: Path) -> Mapping[str, Any] | None:
    """The text chunk, which comes right after the header."""
    return read_quietly(lambda: _read(path))


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        file.seek(len(SIGNATURE) + 12 + 13)
        length, kind = struct.unpack(">I4s", file.read(8))
        keyword, _, text = file.read(min(length, RECORD_BYTES)).partition(b"\0")
    return json.loads(text) if (kind, keyword) == (b"tEXt", OWN_KEY.encode()) else None


def _rows(array: Readable, picture: Picture) -> Iterator[bytes]:
    """Filtered rows, high byte first, band after band."""
    spec = picture.spec
    band = spec.chunks[spec.dims.index("y")]
    above = np.zeros(picture.length("x") * picture.length("c") * spec.itemsize, np.uint8)
    for low in range(0, picture.length("y"), band):
        start = [low if a == "y" else 0 for a in spec.dims]
        stop = [min(low + band, n) if a == "y" else n for a, n in zip(spec.dims, spec.shape, strict=True)]
        values = picture.read(array, start, stop).astype(picture.dtype.newbyteorder(">"))
        for row in np.ascontiguousarray(values).view(np.uint8).reshape(-1, len(above)):
            yield UP + (row - above).tobytes()
            above = row


def _compressed(rows: Iterator[bytes]) -> Iterator[bytes]:
    """The zlib stream of all rows, cut into pieces."""
    packer, kept = zlib.compressobj(), bytearray()
    for row in rows:
        kept += packer.compress(row)
        if len(kept) >= PIECE:
            yield bytes(kept)
            kept.clear()
    yield bytes(kept) + packer.flush()


def _put(file: BinaryIO, kind: bytes, contents: bytes) -> None:
    """One chunk: length, kind, contents, checksum."""
    file.write(struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents)))
