"""HDF5 as ilastik exports it: dataset ``exported_data`` with the attributes `axistags`, `drange`, `display_mode`.

Axistags have no units, so voxel sizes are written as Fiji's plug-in reads them, too: `element_size_um` of z, y, x.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.guarded_file import GuardedFile
from pipeline.metadata import OWN_KEY, axistags
from pipeline.writers.layout import Picture, Readable, micrometres, read_quietly, whole_file

DATASET = "exported_data"
GZIP_LEVEL = 1  # higher ones take several times as long for a few per cent


def check(picture: Picture) -> None:
    """Any image fits."""


def write(array: Readable, picture: Picture, temporary: Path, path: Path) -> None:
    """Write one dataset in chunks; see `pipeline.writers.Writer.write`."""
    with whole_file(picture, temporary, path), GuardedFile(temporary) as file:
        _fill(file, array, picture)
        file.check()


def read_record(path: Path) -> Mapping[str, Any] | None:
    """The JSON attribute with our name."""
    return read_quietly(lambda: _read(path))


def _read(path: Path) -> Any:
    with h5py.File(path, "r") as file:
        return json.loads(file[DATASET].attrs[OWN_KEY])


def _fill(target: GuardedFile, array: Readable, picture: Picture) -> None:
    packed = {"compression": "gzip", "compression_opts": GZIP_LEVEL, "shuffle": True} if picture.compress else {}
    spec = picture.spec
    with h5py.File(target, "w") as file:
        data = file.create_dataset(DATASET, picture.shape, spec.dtype, chunks=picture.chunks, **packed)
        data.attrs["axistags"] = axistags(picture.order, spec.spacing)
        data.attrs["display_mode"] = "default"
        sizes = micrometres(spec)
        if set(sizes) == {a for a in "zyx" if a in spec.dims}:
            data.attrs["element_size_um"] = [sizes[a] for a in "zyx" if a in sizes]
        if spec.value_range is not None:
            data.attrs["drange"] = np.array(spec.value_range, spec.dtype)
        data.attrs[OWN_KEY] = json.dumps(picture.record)
        for where, block in picture.blocks(array):
            data[where] = block
            if target.error is not None:
                return
