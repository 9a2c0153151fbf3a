"""Documents of virtual volumes: valid by the models of both OME-Zarr versions, and the same that runs write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ome_zarr_models.v04.image import ImageAttrs as ImageAttrs04
from ome_zarr_models.v05.image import ImageAttrs as ImageAttrs05

from pipeline.config import settings
from pipeline.progress import Progress
from pipeline.run import run
from pipeline.serving.layer import Layer
from tests.runs import make_request
from tests.web.layers import make_layers
from web.documents import precomputed, zarr2, zarr3
from web.documents.images import value_range

PROJECTS = ["pc_2d", "pc_2d3c", "pc_3d", "pc_t_2d", "pc_t_3d", "ac_2d"]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Chunks of 8 x 8 x 8, so that there are several levels."""
    monkeypatch.setenv("VOXELFOREST_CHUNK_VOXELS", "512")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize("project", PROJECTS)
def test_groups_pass_the_models_of_both_versions(golden_dir: Path, project: str) -> None:
    for layer in make_layers(golden_dir, project).values():
        new, old = zarr3.group(layer)["attributes"], zarr2.attributes(layer)
        ImageAttrs05.model_validate(new["ome"])
        ImageAttrs04.model_validate(old)
        assert len(new["ome"]["multiscales"][0]["datasets"]) == len(layer.levels) > 1
        assert new["voxelforest"]["digest"] == layer.digest
        assert json.loads(json.dumps(new)) == new


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("output", ["probabilities", "segmentation", "uncertainty"])
def test_documents_are_those_of_a_run(golden_dir: Path, tmp_path: Path, output: str, version: Any) -> None:
    request = make_request(golden_dir, tmp_path / "out.zarr", outputs=(output,), ome_version=version)
    run(request, Progress())
    layer = make_layers(golden_dir, "pc_3d")[output]
    if version == "0.5":
        written = json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())["attributes"]["ome"]
        assert zarr3.group(layer)["attributes"]["ome"] == written
    else:
        written = json.loads((tmp_path / "out.zarr" / ".zattrs").read_text())
        served = zarr2.attributes(layer)
        assert (served["multiscales"], served["omero"]) == (written["multiscales"], written["omero"])
    for level in layer.levels:
        folder = tmp_path / "out.zarr" / str(level.index)
        if version == "0.5":
            array = json.loads((folder / "zarr.json").read_text())
            served = {**zarr3.array(layer, level), "attributes": array["attributes"]}
            assert served == {name: array[name] for name in served}
        else:
            assert zarr2.array(layer, level) == json.loads((folder / ".zarray").read_text())
            assert zarr2.array_attributes(layer, level) == json.loads((folder / ".zattrs").read_text())


def test_consolidated_document_holds_all_others(golden_dir: Path) -> None:
    layer = make_layers(golden_dir, "pc_3d")["probabilities"]
    metadata = zarr2.consolidated(layer)["metadata"]
    numbers = [str(level.index) for level in layer.levels]
    assert set(metadata) == {".zgroup", ".zattrs", *(f"{n}/{name}" for n in numbers for name in (".zarray", ".zattrs"))}


def test_approximate_levels_are_marked_in_group_and_array(golden_dir: Path) -> None:
    layer = make_layers(golden_dir, "pc_3d")["probabilities"]
    last = replace(layer.levels[-1], exact=False)
    rough = replace(layer, levels=(*layer.levels[:-1], last))
    assert zarr3.group(rough)["attributes"]["voxelforest"]["approximate_levels"] == [last.index]
    assert zarr3.array(rough, last)["attributes"] == {"voxelforest": {"approximate": True}}
    assert zarr2.array_attributes(rough, last)["voxelforest"] == {"approximate": True}
    assert zarr3.array(rough, rough.levels[0])["attributes"] == {}


def test_provenance_names_the_project_and_no_path(golden_dir: Path) -> None:
    layer = make_layers(golden_dir, "pc_3d")["probabilities"]
    text = json.dumps(zarr3.group(layer))
    own = zarr3.group(layer)["attributes"]["voxelforest"]
    assert own["project"]["name"] == "pc_3d"
    assert own["class_names"] == list(layer.channel_names)
    assert str(golden_dir) not in text


@pytest.mark.parametrize("name", ["int16", "uint64", "float64", "int8", "uint16"])
def test_raw_data_of_any_type_have_documents(golden_dir: Path, name: str) -> None:
    layer = replace(make_layers(golden_dir, "pc_3d")["raw"], dtype=np.dtype(name), value_range=None)
    ImageAttrs05.model_validate(zarr3.group(layer)["attributes"]["ome"])
    assert zarr3.array(layer, layer.levels[0])["data_type"] == name
    assert np.dtype(zarr2.array(layer, layer.levels[0])["dtype"]) == np.dtype(name)


def test_window_of_raw_data_is_the_range_of_its_type() -> None:
    assert value_range(np.dtype("int16")) == (-32768, 32767)
    assert value_range(np.dtype(bool)) == (0, 1)
    assert value_range(np.dtype("float64")) is None


def _with_units(layer: Layer) -> Layer:
    return replace(layer, spacing={"z": 0.04, "y": 0.01, "x": 0.01}, units={"z": "µm", "y": "um", "x": "micrometer"})


def test_info_counts_in_nanometres_and_in_the_order_x_y_z(golden_dir: Path) -> None:
    layer = _with_units(make_layers(golden_dir, "pc_3d")["probabilities"])
    found = precomputed.info(layer)
    assert (found["type"], found["data_type"], found["num_channels"]) == ("image", "float32", 3)
    assert found["scales"][0]["size"] == [38, 40, 37]
    assert found["scales"][0]["resolution"] == [10.0, 10.0, 40.0]
    assert found["scales"][1]["resolution"] == [20.0, 20.0, 80.0]
    assert [scale["key"] for scale in found["scales"]] == ["0", "1", "2", "3"]


def test_info_of_a_plane_is_one_voxel_deep(golden_dir: Path) -> None:
    layers = make_layers(golden_dir, "pc_2d")
    scale = precomputed.info(layers["segmentation"])["scales"][-1]
    assert (scale["size"][2], scale["chunk_sizes"][0][2], scale["resolution"][2]) == (1, 1, 1.0)
    assert precomputed.info(layers["segmentation"])["type"] == "segmentation"
