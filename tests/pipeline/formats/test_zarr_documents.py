from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import VolumeError
from pipeline.formats import open_source
from pipeline.formats.zarr_documents import Node, check_codecs, describe_axes, join, read_node
from pipeline.formats.zarr_folder import Folder

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def image(multiscale: dict[str, Any]) -> Node:
    return Node("", False, {"multiscales": [multiscale]}, {}, b"")


def array(path: str = "0", n: int = 2) -> Node:
    return Node(path, True, {}, {"shape": [4] * n}, b"")


def test_join_leaves_out_empty_parts() -> None:
    assert join("", "a/", "/b", ".") == "a/b"


@pytest.mark.parametrize(
    "document",
    [
        {"compressor": {"id": "pickle"}},
        {"filters": [{"id": "delta"}, {"id": "pickle"}]},
        {"codecs": [{"name": "bytes"}, {"name": "numcodecs.pickle"}]},
        {"codecs": ["pickle"]},
        {"codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "pickle"}]}}]},
    ],
    ids=str,
)
def test_codec_that_unpickles_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(VolumeError, match="'pickle', which is not read"):
        check_codecs(document, "v.zarr")


def test_early_images_have_all_five_axes() -> None:
    found = describe_axes(array(n=5), image({"datasets": [{"path": "0"}]}))
    assert found == ("tczyx", dict.fromkeys("tczyx", 1.0), {})


@pytest.mark.parametrize(
    "scale", [[0.0, 2.0], [-1, 2.0], [float("nan"), 2.0], ["x", 2.0], [None, 2.0], [10**400, 2.0]], ids=str
)
def test_unusable_scale_leaves_that_axis_unknown(scale: list[Any]) -> None:
    entry = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    assert describe_axes(array(), image({"axes": ["y", "x"], "datasets": [entry]}))[1] == {"x": 2.0}


@pytest.mark.parametrize("name", ["zarr.json", ".zarray"])
@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"node_type": "array"}', "\udcff"], ids=repr)
def test_broken_document_is_a_volume_error(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "v.zarr").mkdir()
    (tmp_path / "v.zarr" / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(VolumeError, match=r"v\.zarr"):
        open_source(tmp_path / "v.zarr")


@pytest.mark.parametrize("path", ["../other", "a/../../other", "\0"], ids=repr)
@pytest.mark.parametrize("root", ["memory://a/v.zarr", "/nowhere/v.zarr"])
def test_path_out_of_the_store_is_refused(root: str, path: str) -> None:
    with pytest.raises(VolumeError, match="leads out of the folder"):
        read_node(Folder.at(root), path)


@given(key=st.sampled_from(["shape", "chunks", "dtype", "compressor", "filters", "fill_value", "order"]), value=JSON)
def test_wrong_value_in_a_document_is_a_volume_error_or_reads(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any
) -> None:
    path = tmp_path_factory.mktemp("v") / "v.zarr"
    zarr.create_array(path, data=np.zeros((4, 4), "u1"), zarr_format=2)
    document = json.loads((path / ".zarray").read_text())
    (path / ".zarray").write_text(json.dumps({**document, key: value}))
    with contextlib.suppress(VolumeError):
        open_source(path)


@given(value=JSON, key=st.sampled_from(["axes", "datasets", "coordinateTransformations"]))
def test_wrong_value_in_a_multiscale_never_breaks_the_description(key: str, value: Any) -> None:
    node = image({"axes": ["y", "x"], "datasets": [{"path": "0"}], key: value})
    if "0" in node.levels:
        describe_axes(array(), node)
