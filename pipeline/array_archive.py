"""Reading named arrays from an .npz file that nobody vouches for.

Nothing is unpickled. What the file declares, its own size and that of every array, is checked before memory is taken;
an array that holds anything but plain numbers or text is refused.
"""

from __future__ import annotations

import io
import math
import os
import stat
import sys
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError


def read_arrays(path: str | os.PathLike[str], names: Iterable[str], most: int) -> dict[str, npt.NDArray[Any]]:
    """The arrays of these names.

    Parameters
    ----------
    path : path-like
        An .npz file, compressed or not; links to one are followed.
    names : iterable of str
        All have to be there. What else the file holds is not looked at.
    most : int
        Bytes that the arrays may take in all, and the file itself.

    Raises
    ------
    ModelError
        Code ``not_npz`` if the file is no readable archive or lacks an array, ``too_large`` above `most`.
    """
    contents = read_bounded(path, most)
    try:
        with zipfile.ZipFile(io.BytesIO(contents)) as archive:
            return _read_members(path, archive, names, most)
    except ModelError:
        raise
    except Exception as error:  # the readers of zip and of heads answer damage with exceptions of any kind
        raise ModelError(f"{path}: not a readable .npz file, or it was cut off: {error}", "not_npz") from error


def read_array(path: str | os.PathLike[str], most: int) -> npt.NDArray[Any]:
    """The array of an .npy file, at most so many bytes; refused as `read_arrays` does.

    Raises
    ------
    ModelError
        Code ``not_npz`` if the file is no readable array, ``too_large`` above `most`.
    """
    contents = read_bounded(path, most)
    try:
        return _read_array(path, "it", contents)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{path}: not a readable .npy file, or it was cut off: {error}", "not_npz") from error


def read_bounded(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes.

    Raises
    ------
    ModelError
        Code ``not_npz`` if there is none, ``too_large`` above `most`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for its writer
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be opened: {getattr(error, 'strerror', None) or error}", "not_npz") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ModelError(f"{path}: no regular file", "not_npz")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > most:
            raise too_large(path, status.st_size, most)
        return file.read(most)


def too_large(path: str | os.PathLike[str], declared: int, most: int) -> ModelError:
    """The refusal of a file that declares more bytes than a model may take."""
    return ModelError(
        f"{path}: declares {declared} bytes; a model may take {most} (VOXELFOREST_MODEL_BYTES)", "too_large"
    )


def _read_members(
    path: str | os.PathLike[str], archive: zipfile.ZipFile, names: Iterable[str], most: int
) -> dict[str, npt.NDArray[Any]]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        if member.filename in members:
            raise ModelError(f"{path}: holds {member.filename} twice", "not_npz")
        members[member.filename] = member
    wanted = list(names)
    missing = [name for name in wanted if f"{name}.npy" not in members]
    if missing:
        raise ModelError(f"{path}: has no array {', '.join(missing)}", "not_npz")
    declared = sum(members[f"{name}.npy"].file_size for name in wanted)
    if declared > most:
        raise too_large(path, declared, most)
    return {name: _read_array(path, name, archive.read(members[f"{name}.npy"])) for name in wanted}


def _read_array(path: str | os.PathLike[str], name: str, contents: bytes) -> npt.NDArray[Any]:
    file = io.BytesIO(contents)
    version = np.lib.format.read_magic(file)
    read_head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_head(file)
    if dtype.kind not in "biufU" or dtype.hasobject:
        raise ModelError(f"{path}: {name} is of type {dtype}; numbers and text are allowed", "not_npz")
    if math.prod(shape) * dtype.itemsize != len(contents) - file.tell():
        raise ModelError(f"{path}: {name} is cut off, or longer than it says", "not_npz")
    values = np.frombuffer(contents, dtype, offset=file.tell())
    if (
        dtype.kind == "U"
        and (np.frombuffer(contents, dtype.byteorder + "u4", offset=file.tell()) > sys.maxunicode).any()
    ):
        raise ModelError(f"{path}: {name} holds numbers that are no characters", "not_npz")
    return values.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="))
