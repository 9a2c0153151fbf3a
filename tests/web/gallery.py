"""A server of several golden volumes, and what runs write for the same: 2-D, with channels, 3-D, with time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr

from pipeline.config import settings
from pipeline.images import ImageSpec
from pipeline.probability_map import predicted_map
from pipeline.progress import Progress
from pipeline.segmentation_run import SegmentationRequest, segment_volume
from pipeline.thresholding import Thresholding
from tests.outputs import whole_levels
from tests.runs import GOLDEN, make_request, open_input, run_quietly
from tests.servers import Server, serving

Array = npt.NDArray[Any]

PROJECTS = ("pc_2d", "pc_2d3c", "pc_3d", "pc_t_2d", "pc_t_3d")
PREDICTED = ("probabilities", "segmentation", "uncertainty")
LAYERS = ("raw", *PREDICTED, "labels")
SMALL_CHUNKS = {"VOXELFOREST_CHUNK_VOXELS": "1024"}  # 8 x 8 x 16, 32 x 32: several chunks and levels, cut at every edge


@dataclass(frozen=True)
class Gallery:
    """A running server, and the values of all layers and levels, by project (also the name of the volume) and layer."""

    server: Server
    values: Mapping[str, Mapping[str, list[Array]]]

    def url(self, volume: str, layer: str, dialect: str) -> str:
        """Where a layer is at present."""
        reply = self.server.ask(f"/data/{volume}/{layer}/{dialect}/x")
        assert reply.status == 307
        return self.server.url + reply.headers["Location"].removesuffix("/x")


@contextlib.contextmanager
def open_gallery(golden_dir: Path, folder: Path) -> Iterator[Gallery]:
    """Write all outputs, and serve."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL_CHUNKS.items():
            patch.setenv(name, value)
        settings.cache_clear()
        values = {project: _written(golden_dir, project, folder) for project in PROJECTS}
    settings.cache_clear()
    configuration = _configure(golden_dir, folder)
    with serving("--config", configuration, folder=folder, environment=SMALL_CHUNKS) as server:
        yield Gallery(server, values)


def _written(golden_dir: Path, project: str, folder: Path) -> dict[str, list[Array]]:
    """All levels of what runs write, and of raw data, whose levels are means, too."""
    request = make_request(golden_dir, folder / f"{project}.zarr", project, outputs=PREDICTED)
    run_quietly(request)
    found = {name: _levels(folder / f"{project}.zarr" / name) for name in PREDICTED}
    objects = folder / f"{project}-objects.zarr"
    source = predicted_map(request.project, request.volume)
    segment_volume(SegmentationRequest(source, objects, Thresholding()), Progress())
    found["labels"] = _levels(objects / "labels" / "objects")
    return {"raw": _raw_levels(golden_dir, project)[: len(found["segmentation"])], **found}


def _levels(path: Path) -> list[Array]:
    """All levels of an image."""
    image = zarr.open_group(path, mode="r")
    arrays = [image[key] for key in sorted(image.array_keys())]
    return [np.asarray(array[...]) for array in arrays if isinstance(array, zarr.Array)]


def _raw_levels(golden_dir: Path, project: str) -> list[Array]:
    volume = open_input(golden_dir, project)
    single = tuple(n if axis == "c" else 1 for axis, n in zip(volume.dims, volume.shape, strict=True))
    spec = ImageSpec("raw", volume.dims, volume.shape, single, volume.dtype.name)
    return whole_levels(spec, np.asarray(volume[...]))


def _configure(golden_dir: Path, folder: Path) -> Path:
    lines = []
    for project in PROJECTS:
        name, axes = GOLDEN[project]
        given = {"in_2d3c_u8": "yxc"}.get(name, axes)
        lines += ["[[volumes]]", f'name = "{project}"', f"path = {json.dumps(str(golden_dir / f'{name}.npy'))}"]
        lines += [f'axes = "{given}"', f'projects = ["{project}"]', "[[projects]]", f'name = "{project}"']
        lines += [f"path = {json.dumps(str(golden_dir / 'projects' / f'{project}.ilp'))}"]
    file = folder / "served.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file
