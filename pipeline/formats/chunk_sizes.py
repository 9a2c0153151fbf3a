"""What a compressed chunk decodes to, known before a decoder makes room for it.

A chunk of some bytes can say to hold gigabytes: a frame of zstd, Blosc and LZ4 names its size, and 1 kB of gzip becomes
1 MB. Measured: a gzip chunk of 2 MB that should hold 7 kB took 1.1 GiB.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

BLOSC_HEADER = 16  # bytes
ANY_HEADER = 32  # gzip or zlib, as the data says; for `zlib.decompressobj`
PIECE = 1 << 20  # bytes inflated at a time where they are only counted
SLACK = 1 << 16  # a compressed chunk may be this much longer than twice what it holds
DEFLATED = ("gzip", "zlib")


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


def check_decoded(name: str, data: bytes, most: int) -> None:
    """Refuse a chunk that would decode to more than `most` bytes; codecs without a check are let through.

    Parameters
    ----------
    name : str
        Of the codec, as Zarr has it.
    data : bytes
    most : int

    Raises
    ------
    ValueError
    """
    said = _count_inflated(data, most) if name in DEFLATED else _said_size(name, data)
    if said is not None and said > most:
        raise ValueError(f"it would be decoded to {said:,} bytes or more; {most:,} are the most that a chunk here has")


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
