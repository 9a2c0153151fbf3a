"""The API for scripts, over a real socket."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from openapi_spec_validator import validate
from PIL import Image

from pipeline.lazy import predict
from pipeline.project import open_project
from pipeline.volume import as_array
from tests.runs import open_input
from tests.servers import Server, serving_here
from tests.web.old_boxes import Array, problem_of

LAYER = "/api/v1/volumes/in_3d_u8/layers"
ROI = f"{LAYER}/probabilities/roi"


@pytest.fixture(scope="module")
def raw(golden_dir: Path) -> Array:
    """The served volume, (z, y, x)."""
    return np.load(golden_dir / "in_3d_u8.npy")


@pytest.fixture(scope="module")
def results(golden_dir: Path) -> dict[str, Array]:
    """What Python computes of it, by output: (c, z, y, x) or (z, y, x)."""
    array, project = open_input(golden_dir, "pc_3d"), open_project(golden_dir / "projects" / "pc_3d.ilp")
    outputs = ("probabilities", "segmentation", "uncertainty")
    computed = predict(as_array(array), project, output=outputs)
    return {name: np.asarray(computed[name].compute()) for name in outputs}


def load(body: bytes) -> Array:
    """The array of an npy body."""
    return np.load(io.BytesIO(body), allow_pickle=False)


def test_volumes_and_layers_are_described(server_3d: Server) -> None:
    (volume,) = server_3d.ask("/api/v1/volumes").document["volumes"]
    assert volume == server_3d.ask("/api/v1/volumes/in_3d_u8").document
    assert (volume["dims"], volume["shape"], volume["dtype"]) == ("zyx", [37, 40, 38], "uint8")
    assert volume["layers"][:4] == ["raw", "probabilities", "segmentation", "uncertainty"]
    layers = server_3d.ask(LAYER).document["layers"]
    assert [layer["name"] for layer in layers] == volume["layers"]
    one = server_3d.ask(f"{LAYER}/probabilities").document
    assert one == layers[1]
    assert (one["dims"], one["shape"], one["project"]) == ("czyx", [3, 37, 40, 38], "pc_3d")
    assert [channel["name"] for channel in one["channels"]] == ["Label 1", "Label 2", "Label 3"]
    assert one["levels"][0]["exact"]
    assert one["digest"] in one["urls"]["zarr"]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("z=3&y=0:10&x=5:38", np.s_[:, 3, 0:10, 5:38]),
        ("c=1&z=3:5", np.s_[1, 3:5]),
        ("c=0:2&z=36&y=:7&x=30:", np.s_[0:2, 36, :7, 30:]),
        ("c=2&z=0&y=0&x=0", np.s_[2, 0, 0, 0]),
    ],
)
def test_regions_are_what_python_computes(server_3d: Server, results: dict[str, Array], query: str, index: Any) -> None:
    reply = server_3d.ask(f"{ROI}?{query}")
    assert reply.status == 200
    expected = results["probabilities"][index]
    assert np.array_equal(load(reply.body), expected)
    plain = server_3d.ask(f"{ROI}?{query}&format=raw")
    assert plain.body == np.ascontiguousarray(expected).tobytes()
    assert plain.headers["X-VoxelForest-Shape"] == ",".join(map(str, expected.shape))
    assert plain.headers["X-VoxelForest-Dtype"] == "<f4"
    with h5py.File(io.BytesIO(server_3d.ask(f"{ROI}?{query}&format=hdf5").body), "r") as file:
        assert np.array_equal(file["exported_data"][()], expected)
        assert "axistags" in file["exported_data"].attrs or expected.ndim == 0


@pytest.mark.parametrize("name", ["raw", "segmentation", "uncertainty"])
def test_other_layers_and_tiff(server_3d: Server, raw: Array, results: dict[str, Array], name: str) -> None:
    expected = ({"raw": raw} | results)[name]
    assert np.array_equal(load(server_3d.ask(f"{LAYER}/{name}/roi").body), expected)
    with tifffile.TiffFile(io.BytesIO(server_3d.ask(f"{LAYER}/{name}/roi?format=tiff").body)) as file:
        assert file.series[0].axes == "ZYX"
        assert np.array_equal(file.asarray(), expected)


def test_coarse_levels_are_means(server_3d: Server, results: dict[str, Array]) -> None:
    levels = server_3d.ask(f"{LAYER}/probabilities").document["levels"]
    assert len(levels) > 1
    found = load(server_3d.ask(f"{ROI}?level=1").body)
    assert list(found.shape) == levels[1]["shape"]
    factors = levels[1]["factors"]
    assert np.allclose(
        found[:, 0, 0, 0], results["probabilities"][:, : factors[1], : factors[2], : factors[3]].mean((1, 2, 3))
    )


def test_pictures_have_the_colours_of_the_classes(server_3d: Server, raw: Array, results: dict[str, Array]) -> None:
    colors = np.array([channel["color"] for channel in server_3d.ask(f"{LAYER}/segmentation").document["channels"]])

    def picture(target: str) -> Array:
        reply = server_3d.ask(f"{LAYER}/{target}")
        assert reply.status == 200, reply.text
        return np.asarray(Image.open(io.BytesIO(reply.body)))

    assert np.array_equal(picture("raw/roi?z=9&format=png"), raw[9])
    assert np.array_equal(picture("raw/roi?y=9&x=2:&format=png"), raw[:, 9, 2:])
    assert np.array_equal(picture("raw/roi?z=9&format=png&window=0:127.5"), np.minimum(raw[9].astype(int) * 2, 255))
    assert np.array_equal(
        picture("segmentation/roi?z=9&format=png"), colors[results["segmentation"][9].astype(int) - 1]
    )
    mixed = np.floor(np.tensordot(results["probabilities"][:, 9].astype(float), colors, (0, 0)) + 0.5)
    assert np.array_equal(picture("probabilities/roi?z=9&format=png"), np.clip(mixed, 0, 255))
    grey = np.floor(results["probabilities"][1, 9].astype(float) * 255 + 0.5)
    assert np.array_equal(picture("probabilities/roi?c=1&z=9&format=png"), grey)
    labels = picture("segmentation/roi?z=9&format=png&colors=labels")
    assert labels.shape == (40, 38, 4)
    values = results["segmentation"][9]
    assert len(np.unique(labels.reshape(-1, 4), axis=0)) == len(np.unique(values))


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/v1/volumes/none", 404),
        ("/api/v1/volumes/in_3d_u8/layers/none", 404),
        ("/api/v1/projects/none", 404),
        ("/api/v1/projects/%C2%BF", 404),
        ("/api/v1/projects/..%2fx", 404),
        ("/api/v1/nothing", 404),
        (f"{LAYER}/raw/roi?project=none", 404),
        (f"{ROI}?project=none", 404),
        (f"{ROI}?level=99", 404),
        (f"{ROI}?z=37", 416),
        (f"{ROI}?z=5:5", 416),
        (f"{ROI}?z=9:5", 416),
        (f"{ROI}?x=0:39", 416),
        (f"{ROI}?z=999999999999999", 416),
        (f"{ROI}?t=0", 400),
        (f"{ROI}?z=-1", 400),
        (f"{ROI}?z=1.5", 400),
        (f"{ROI}?z=%D9%A3", 400),
        (f"{ROI}?z=1:2:3", 400),
        (f"{ROI}?z=", 400),
        (f"{ROI}?z=nan", 400),
        (f"{ROI}?z=1&z=2", 400),
        (f"{ROI}?w=1", 400),
        (f"{ROI}?level=-1", 400),
        (f"{ROI}?level=1e1", 400),
        (f"{ROI}?format=jpg", 400),
        (f"{ROI}?z=1&format=png&colors=red", 400),
        (f"{ROI}?z=1&format=png&colors=labels", 400),
        (f"{ROI}?format=png", 400),
        (f"{LAYER}/raw/roi?z=1&format=png&window=5:5", 400),
        (f"{LAYER}/raw/roi?z=1&format=png&window=nan:5", 400),
        (f"{LAYER}/raw/roi?z=1&format=png&colors=classes", 400),
        (f"{ROI}?project=../../etc", 400),
    ],
)
def test_refusals_say_why(server_3d: Server, target: str, status: int) -> None:
    problem_of(server_3d.ask(target), status)


def test_answers_are_not_sent_twice(server_3d: Server) -> None:
    first = server_3d.ask(f"{ROI}?z=3")
    again = server_3d.ask(f"{ROI}?z=3", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


def test_more_than_one_request_may_ask_for_is_refused(
    golden_dir: Path, monkeypatch: pytest.MonkeyPatch, fresh_settings: None
) -> None:
    monkeypatch.setenv("VOXELFOREST_REQUEST_BYTES", "50000")
    with serving_here(golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy", axes="zyx") as server:
        assert server.ask(f"{LAYER}/raw/roi?z=0:30").status == 200
        problem_of(server.ask(f"{LAYER}/raw/roi"), 413)


def test_projects_and_cache(server_3d: Server) -> None:
    (project,) = [row for row in server_3d.ask("/api/v1/projects").document["projects"] if row["name"] == "pc_3d"]
    assert project == server_3d.ask("/api/v1/projects/pc_3d").document
    assert (project["features"], project["trees"], project["volumes"]) == (15, 11, ["in_3d_u8"])
    server_3d.ask(f"{ROI}?z=3")
    cache = server_3d.ask("/api/v1/cache").document
    assert 0 <= cache["hit_rate"] <= 1
    assert cache["numbers"]["limit_bytes"] == 900 << 20


def test_the_openapi_document_is_valid_and_swagger_asks_no_other_host(server_3d: Server) -> None:
    document = server_3d.ask("/api/v1/openapi.json").document
    validate(document)
    assert "/api/v1/volumes/{volume}/layers/{layer}/roi" in document["paths"]
    assert "multipart/form-data" in document["paths"]["/api/v1/projects"]["post"]["requestBody"]["content"]
    page = server_3d.ask("/api/v1/docs").text
    assert "://" not in page
    for file in ("docs/files/css/swagger-ui.css", "docs/files/js/swagger-ui-bundle.js", "docs/start.js"):
        assert file in page
        assert server_3d.ask(f"/api/v1/{file}").status == 200
