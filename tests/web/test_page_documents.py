"""What the page says and hands out: states, snippets, Neuroglancer's files, hints; no browser."""

from __future__ import annotations

import html
import json
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from flask.testing import FlaskClient

from pipeline.project import open_project
from pipeline.serving.catalogue import Catalogue
from pipeline.serving.engine import Engine
from pipeline.serving.layer import ServedVolume
from pipeline.volume import open_raw
from tests.runs import open_input
from tests.servers import Server
from tests.web.layers import make_layers
from web import client_files, create_app
from web.options import Options
from web.snippets import make_snippets
from web.viewer_state import dimension, make_state


@pytest.fixture(scope="module")
def client(golden_dir: Path) -> Iterator[FlaskClient]:
    """An app in this process: a 3-D volume, and a project of it and one that fits 2-D alone."""
    projects = {name: open_project(golden_dir / "projects" / f"{name}.ilp") for name in ("pc_2d3c", "pc_3d")}
    served = ServedVolume("vol", open_input(golden_dir, "pc_3d"), tuple(projects))
    engine = Engine(Catalogue([served], projects))
    yield create_app(engine, Options()).test_client()
    engine.close()


def _config(text: str) -> dict[str, Any]:
    start = text.index(">", text.index('id="config"')) + 1
    found: dict[str, Any] = json.loads(text[start : text.index("</script>", start)])
    return found


# ---- the state


def test_state_has_a_layer_for_each_class_and_moves_all_by_half_a_voxel(golden_dir: Path) -> None:
    layers = make_layers(golden_dir, "pc_3d")
    state = make_state(layers.values(), (10.0, 200.0), "http://h:1")
    names = [layer["name"] for layer in state["layers"] if layer["name"] != "labels"]
    assert names == ["raw", *layers["probabilities"].channel_names, "segmentation", "uncertainty"]
    assert state["layers"][0]["shaderControls"] == {"contrast": {"range": [10.0, 200.0]}}
    for layer in state["layers"]:
        transform = layer["source"]["transform"]
        moved = {axis: row[-1] for axis, row in zip(transform["outputDimensions"], transform["matrix"], strict=True)}
        assert moved in ({"z": 0.5, "y": 0.5, "x": 0.5}, {"c^": 0.0, "z": 0.5, "y": 0.5, "x": 0.5})
        assert layer["source"]["url"].startswith("http://h:1/data/v/")
        assert layer["source"]["url"].endswith("/zarr/|zarr3:")
    assert state["position"] == [19.5, 20.5, 18.5]


def test_classes_have_their_colours_and_channels_in_the_shaders(golden_dir: Path) -> None:
    layers = make_layers(golden_dir, "pc_3d")
    state = make_state(layers.values(), (0.0, 1.0), "")
    for channel, color in enumerate(layers["probabilities"].channel_colors):
        shader = state["layers"][1 + channel]["shader"]
        assert "#{:02x}{:02x}{:02x}".format(*color) in shader
        assert f"getDataValue({channel})" in shader
    colors = next(layer["segmentColors"] for layer in state["layers"] if layer["name"] == "segmentation")
    assert set(colors) == {"1", "2", "3"}


def test_names_that_come_twice_are_told_apart(golden_dir: Path) -> None:
    layers = make_layers(golden_dir, "pc_2d")
    twice = replace(layers["probabilities"], channel_names=("raw", "raw"))
    state = make_state([layers["raw"], twice], (0.0, 1.0), "")
    assert [layer["name"] for layer in state["layers"]] == ["raw", "raw (2)", "raw (3)"]


@pytest.mark.parametrize(("unit", "expected"), [("um", [2.5e-6, "m"]), ("", [2.5, ""]), ("furlong", [2.5, ""])])
def test_dimensions_are_in_metres_where_the_unit_is_known(golden_dir: Path, unit: str, expected: list[Any]) -> None:
    raw = replace(make_layers(golden_dir, "pc_2d")["raw"], spacing={"x": 2.5}, units={"x": unit} if unit else {})
    assert dimension(raw, "x") == pytest.approx(expected)


def test_time_comes_after_space_and_channels_of_raw_data_are_colours(golden_dir: Path) -> None:
    state = make_state(make_layers(golden_dir, "pc_t_3d").values(), (0.0, 1.0), "")
    assert list(state["dimensions"]) == ["x", "y", "z", "t"]
    colored = make_state(make_layers(golden_dir, "pc_2d3c").values(), (0.0, 9.0), "")["layers"][0]
    assert "emitRGB(vec3(red(), green(), blue()))" in colored["shader"]
    assert set(colored["shaderControls"]) == {"red", "green", "blue"}


# ---- lines to copy


def test_python_lines_read_what_they_name(server_3d: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[Any, dict[str, Any]]] = []

    class Viewer:
        def add_image(self, levels: Any, **options: Any) -> None:
            shown.append((levels, options))

        add_labels = add_image

    napari = types.ModuleType("napari")  # it opens a window, so only what it is given is looked at
    napari.Viewer, napari.run = Viewer, lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "napari", napari)
    text = server_3d.ask("/").text
    blocks = {
        html.unescape(title): html.unescape(body)
        for title, body in re.findall(r"<summary>(.*?)</summary>\s*<pre[^>]*>(.*?)</pre>", text, re.DOTALL)
    }
    found: dict[str, Any] = {}
    for title in ("Python", "zarr-python", "tensorstore", "napari"):
        namespace: dict[str, Any] = {}
        found[title] = namespace
        exec(compile(blocks[title], title, "exec"), namespace)
    values = found["Python"]["values"].values
    assert np.array_equal(values, found["zarr-python"]["level"][...])
    assert np.array_equal(values, found["tensorstore"]["level"].read().result())
    (raw, _), (probabilities, options) = shown[:2]
    assert np.array_equal(probabilities[0].compute(), values)
    assert (options["channel_axis"], len(options["name"]), raw[0].shape) == (0, 3, (37, 40, 38))
    assert blocks["Neuroglancer"].startswith(f"{server_3d.url}/v/viewer/#!")


def test_volume_without_a_project_has_lines_for_raw_data(golden_dir: Path) -> None:
    raw = make_layers(golden_dir, "pc_3d")["raw"]
    snippets = make_snippets([raw], "http://h", None)
    assert snippets[0].title != "Neuroglancer"
    assert all(f"/raw/{raw.digest}" in snippet.text for snippet in snippets)


# ---- the page itself


def test_page_is_strict_about_what_it_loads(client: FlaskClient) -> None:
    policy = client.get("/?project=pc_3d").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_state_in_the_page_names_the_server_that_was_asked(client: FlaskClient) -> None:
    text = client.get("/?project=pc_3d", headers={"Host": "localhost:77"}).text
    state = json.loads(unquote(_config(text)["viewer"].partition("#!")[2]))
    assert state["layers"][0]["source"]["url"].startswith("http://localhost:77/data/vol/raw/")


def test_project_that_does_not_fit_leaves_raw_data_and_a_reason(client: FlaskClient) -> None:
    reply = client.get("/?volume=vol&project=pc_2d3c")
    assert reply.status_code == 200
    assert "does not fit vol" in reply.text
    assert [layer["name"] for layer in _config(reply.text)["layers"]] == ["raw"]
    place = client.get("/data/vol/raw/zarr/zarr.json").headers["Location"]
    assert client.get(place).status_code == 200


@pytest.mark.parametrize("query", ["volume=none", "project=none"])
def test_unknown_names_are_not_found(client: FlaskClient, query: str) -> None:
    assert client.get(f"/?{query}").status_code == 404


def test_without_the_viewer_the_page_says_what_to_install(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_files, "find_folder", lambda: None)
    text = client.get("/?project=pc_3d").text
    assert "pip install &#39;voxelforest[viewer]&#39;" in text
    assert _config(text)["viewer"] is None
    reply = client.get("/v/viewer/")
    assert reply.status_code == 404
    assert reply.json is not None
    assert "voxelforest[viewer]" in reply.json["detail"]


def test_icon_is_there(client: FlaskClient) -> None:
    with client.get("/favicon.ico") as reply:
        assert (reply.status_code, reply.mimetype) == (200, "image/svg+xml")


# ---- Neuroglancer's files


def test_files_of_the_viewer_have_their_types_and_are_kept(client: FlaskClient) -> None:
    folder = client_files.find_folder()
    assert folder is not None
    types_seen = set()
    for file in folder.iterdir():
        reply = client.get(f"/v/viewer/{file.name}".removesuffix("index.html"))
        assert reply.status_code == 200
        types_seen.add(reply.mimetype)
        if file.name != "index.html":
            assert reply.data == file.read_bytes()
            assert "immutable" in reply.headers["Cache-Control"]
    assert {"application/wasm", "text/javascript", "text/css", "text/html"} <= types_seen
    assert "event-stream.js" in client.get("/v/viewer/").text
    assert client.get("/v/viewer/event-stream.js").mimetype == "text/javascript"


@pytest.mark.parametrize(
    "name", ["..", "../index.html", "%2e%2e%2findex.html", ".git", "none.js", "index.html~", "main.py"]
)
def test_no_other_file_is_given_out(client: FlaskClient, name: str) -> None:
    assert client.get(f"/v/viewer/{name}").status_code in (404, 308)


def test_data_that_cannot_be_read_is_neither_missing_nor_to_be_asked_for_again(
    golden_dir: Path, tmp_path: Path
) -> None:
    values = np.load(golden_dir / "in_3d_u8.npy")
    np.save(tmp_path / "raw.npy", values)
    served = ServedVolume("vol", open_raw(tmp_path / "raw.npy", axes="zyx"))
    engine = Engine(Catalogue([served], {}))
    broken = create_app(engine, Options()).test_client()
    place = broken.get("/data/vol/raw/zarr/0/c/0/0/0").headers["Location"]
    (tmp_path / "raw.npy").write_bytes(b"")
    reply = broken.get(place)
    assert (reply.status_code, reply.mimetype) == (424, "application/problem+json")
    assert str(tmp_path) not in reply.text
    assert broken.get("/").status_code == 200
    engine.close()
