"""What a compressed chunk decodes to, known before a decoder makes room for it.

A chunk of some bytes can say to hold gigabytes: a frame of zstd, Blosc and LZ4 names its size, and 1 kB of gzip becomes
1 MB. Measured: a gzip chunk of 2 MB that should hold 7 kB took 1.1 GiB. Streams that name no size are decoded piece by
piece up to the bound, and only counted.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import imagecodecs
from numcodecs.registry import get_codec

BLOSC_HEADER = 16  # bytes
ANY_HEADER = 32  # gzip or zlib, as the data says; for `zlib.decompressobj`
PIECE = 1 << 20  # bytes inflated at a time where they are only counted
SLACK = 1 << 16  # a compressed chunk may be this much longer than twice what it holds
BLOSC_LENGTH = slice(12, 16)  # where a Blosc frame says how many bytes it has
DEFLATED = ("gzip", "zlib")
STREAMED = ("bz2", "lzma")
CHECKED = ("zstd", "blosc", "lz4", *DEFLATED, *STREAMED)
MOST_DICTIONARY = 1 << 27  # bytes that a decoder of LZMA may keep; `xz -9` asks for half of that


def decode_chunk(codec: Any, data: bytes, size: int) -> Any:
    """Decode a chunk that has to hold `size` bytes, in memory for `size` bytes.

    Parameters
    ----------
    codec : numcodecs codec
        zstd, blosc, lz4, gzip or zlib.
    data : bytes
    size : int

    Returns
    -------
    buffer of `size` bytes

    Raises
    ------
    ValueError
        If it says to hold another number of bytes, or does.
    """
    if codec.codec_id in DEFLATED:
        return _inflate(data, size)
    said = _said_size(codec.codec_id, data)
    if said is None:  # a zstd frame that was written as a stream: the decoder refuses another size
        return codec.decode(data, out=bytearray(size))
    if said != size:
        raise ValueError(f"it says to hold {said:,} bytes, not {size:,}")
    return codec.decode(data)


def check_decoded(name: str, data: bytes, most: int, options: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Refuse a chunk that would decode to more than `most` bytes; codecs that do not compress are let through.

    Parameters
    ----------
    name : str
        Of the codec, as numcodecs has it.
    data : bytes
        The first bytes are enough for ``blosc``, ``lz4`` and frames of ``zstd`` that name their size.
    most : int
    options : mapping, optional
        Of the codec, as numcodecs has them.

    Raises
    ------
    ValueError
        Or what the decoder raises for damaged data.
    """
    said = _said_size(name, data)
    if name in DEFLATED:
        said = _count_inflated(data, most)
    elif name in STREAMED:
        said = _count_streamed(name, options, data, most)
    elif name == "zstd" and said is None:  # a frame without its size: it has to fit into what there may be
        said = len(imagecodecs.zstd_decode(data, out=most))
    if said is not None and said > most:
        raise ValueError(f"it would be decoded to {said:,} bytes or more; {most:,} are the most that a chunk here has")


def decode_within(layer: Mapping[str, Any], data: bytes, most: int) -> bytes:
    """What a layer of a chunk holds, of at most `most` bytes.

    Parameters
    ----------
    layer : mapping
        The codec: ``id`` and options, as numcodecs has them.
    data : bytes
    most : int

    Raises
    ------
    ValueError
        Or what the decoder raises for damaged data.
    """
    check_decoded(layer["id"], data, most, layer)
    found = get_codec(dict(layer)).decode(data)
    return bytes(memoryview(found).cast("B"))


def check_blosc(header: bytes, size: int) -> None:
    """Refuse a Blosc frame of `size` bytes that is cut off, by its first bytes.

    Blosc decodes a cut frame without an error, from whatever lies behind it in memory; the other codecs notice.

    Raises
    ------
    ValueError
    """
    promised = int.from_bytes(header[BLOSC_LENGTH], "little") if len(header) == BLOSC_HEADER else BLOSC_HEADER
    if size < promised:
        raise ValueError(f"it is cut off: {size:,} of {promised:,} bytes")


def _said_size(name: str, data: bytes) -> int | None:
    """The size that a frame names; None if it names none (RFC 8878, 3.1.1.1; Blosc 1 and LZ4 as numcodecs has them)."""
    if name == "blosc":
        return int.from_bytes(data[4:8], "little")
    if name == "lz4":
        return int.from_bytes(data[:4], "little")
    if name != "zstd" or len(data) < 5:
        return None
    flags = data[4]
    single = flags >> 5 & 1
    width = (single, 2, 4, 8)[flags >> 6]
    at = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0) if width else None


def _inflate(data: bytes, size: int) -> bytes:
    parts: list[bytes] = []

    def keep(part: bytes) -> None:
        parts.append(part)

    found = _each_inflated(data, size + 1, size + 1, keep)
    if found != size:
        raise ValueError(f"it holds {'more' if found > size else f'{found:,}'} bytes, not {size:,}")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _count_inflated(data: bytes, most: int) -> int:
    return _each_inflated(data, most + 1, PIECE, lambda part: None)


def _count_streamed(name: str, options: Mapping[str, Any], data: bytes, most: int) -> int:
    """How many bytes the streams of bz2 or lzma hold, counted up to a little more than `most`."""
    found = 0
    while data:
        stream: Any = bz2.BZ2Decompressor() if name == "bz2" else _lzma_stream(options)
        part = stream.decompress(data, PIECE)
        found += len(part)
        while not stream.eof and found <= most:
            if not part and stream.needs_input:
                raise ValueError("it is cut off")
            part = stream.decompress(b"", PIECE)
            found += len(part)
        data = stream.unused_data if found <= most else b""
    return found


def _lzma_stream(options: Mapping[str, Any]) -> lzma.LZMADecompressor:
    kind, filters = options.get("format", lzma.FORMAT_XZ), options.get("filters")
    if kind != lzma.FORMAT_RAW:
        return lzma.LZMADecompressor(kind, memlimit=MOST_DICTIONARY)
    wanted = max((int(entry.get("dict_size", 0)) for entry in filters or []), default=0)
    if wanted > MOST_DICTIONARY:
        raise ValueError(f"its decoder asks for {wanted:,} bytes; {MOST_DICTIONARY:,} are allowed")
    return lzma.LZMADecompressor(kind, filters=filters)


def _each_inflated(data: bytes, most: int, piece: int, use: Callable[[bytes], None]) -> int:
    """Hand out what the members of a gzip or zlib stream hold, up to `most` bytes; how many they were."""
    found = 0
    while data.strip(b"\0") if found else True:  # zeros may follow the last member
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | ANY_HEADER)
        while not stream.eof and found < most:
            part = stream.decompress(data, min(piece, most - found))
            if not part and not stream.eof:
                raise ValueError("it is cut off")
            found += len(part)
            use(part)
            data = stream.unconsumed_tail
        data = stream.unused_data
        if found >= most:
            break
    return found
