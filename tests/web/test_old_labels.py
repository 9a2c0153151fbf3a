"""Section G of the old services' checklist, thresholding, over a real socket; numbers are those of its items."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage

from pipeline.labelling import label_frame
from pipeline.serving.label_image import LabelSettings
from tests.servers import SMALL, Reply, Server, serving, serving_here
from tests.web.old_boxes import Array, ask_box, dataset_of, picture_of, problem_of, stretched, values_of


@pytest.fixture(scope="module")
def files(golden_dir: Path) -> tuple[Path, Path]:
    """A 3-D project and its volume."""
    return golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy"


@pytest.fixture
def server(server_3d: Server) -> Iterator[Server]:
    """The shared server, its settings put back afterwards."""
    yield server_3d
    for route, value in (("threshold", 0.5), ("channel", 0), ("presmoothingsigmas", None)):
        assert tell(server_3d, route, value).status == 200


def tell(server: Server, route: str, value: object) -> Reply:
    """Change a setting."""
    return server.ask(f"/{route}/set", method="POST", body=json.dumps({"value": value}).encode())


def label(prob: Array, channel: int, threshold: float, sigmas: tuple[float, ...]) -> Array:
    """What the old service computed, of (t, x, y, z, c) at t = 0: (x, y, z)."""
    picked = prob[0, ..., channel]
    smoothed = scipy.ndimage.gaussian_filter(picked, sigmas, mode="mirror", truncate=3)
    assert np.abs(smoothed - threshold).min() > 1e-6  # no voxel is so near that rounding decides
    labels: Array = scipy.ndimage.label((smoothed > threshold).T)[0].T
    return labels


@pytest.mark.parametrize(
    ("channel", "threshold", "sigmas"),
    [(0, 0.1, (1.0, 1.0, 1.0)), (1, 0.9, (2.0, 1.0, 0.5)), (1, 0.9, (1.0, 1.5, 3.0))],
)
def test_items_57_58_and_59_labels_of_a_whole_frame(
    server: Server, channel: int, threshold: float, sigmas: tuple[float, ...]
) -> None:
    prob = values_of(ask_box(server, "/prediction/raw/roi", (0, 0, 0), (38, 40, 37)), "<f4", (1, 38, 40, 37, 3))
    assert tell(server, "channel", channel).status == 200
    assert tell(server, "threshold", threshold).status == 200
    assert tell(server, "presmoothingsigmas", sigmas).status == 200
    expected = label(prob, channel, threshold, sigmas)
    assert expected.max() > 10
    assert np.array_equal(values_of(server.ask("/labelvolume/raw/0"), "<u4", (1, 38, 40, 37, 1))[0, ..., 0], expected)
    found = dataset_of(server.ask("/labelvolume/hdf5/0"))
    assert found.dtype == np.uint32
    assert np.array_equal(found[0, ..., 0], expected)
    part = values_of(ask_box(server, "/labelimage/raw/roi", (3, 4, 5), (30, -1, 20)), "<u4", (1, 27, 35, 15, 1))
    assert np.array_equal(part[0, ..., 0], expected[3:30, 4:39, 5:20])
    shown = picture_of(ask_box(server, "/labelimage/png/roi", (0, 3, 4, 9, 0), (1, 30, 20, 10, 1)))
    assert np.array_equal(shown, stretched(expected[3:30, 4:20, 9]).T)


@pytest.mark.parametrize("case", ["2d", "3d", "3d_aniso"])
def test_items_58_and_59_labels_are_those_that_the_service_gave(captures: Path, case: str) -> None:
    recorded = np.load(captures / "thresholding.npz")
    prob = recorded[f"{case}_prob"][0].transpose(3, 2, 1, 0)
    sigmas = tuple(float(sigma) for sigma in recorded[f"{case}_sigmas"])
    told = LabelSettings(float(recorded["threshold"]), int(recorded["channel"]), sigmas)
    labels, _ = label_frame(prob, told.thresholding(), dtype="uint32")
    expected = recorded[f"{case}_labels"]
    assert np.array_equal(labels.transpose(2, 1, 0).reshape(expected.shape), expected)


@pytest.mark.parametrize("frame", ["1", "-1", "x", "1.0", "%D9%A0"])
def test_item_57_frames_that_there_are_not(server_3d: Server, frame: str) -> None:
    assert problem_of(server_3d.ask(f"/labelvolume/raw/{frame}"), 400)["allowed"] == "an integer from 0 to 0"


def test_item_60_settings_are_got_and_set(server: Server) -> None:
    assert server.ask("/threshold/get").text == "0.5"
    assert tell(server, "threshold", 0.25).text == "Threshold set successfully"
    assert server.ask("/threshold/get").text == "0.25"
    assert server.ask("/channel/get").text == "0"
    assert tell(server, "channel", 2).text == "Channel specified successfully"
    assert server.ask("/channel/get").text == "2"
    assert server.ask("/presmoothingsigmas/get").text == "1.0_1.0_1.0"
    assert tell(server, "presmoothingsigmas", [2, 1.5, 0.5]).text == "Presmoothing sigmas set successfully"
    assert server.ask("/presmoothingsigmas/get").text == "2.0_1.5_0.5"
    assert tell(server, "presmoothingsigmas", None).text == "Presmoothing sigmas set successfully"
    assert server.ask("/presmoothingsigmas/get").text == "1.0_1.0_1.0"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"0.5", b'{"other": 1}', b"\xff", b"[" * 60000, b'{"value": 1'])
def test_item_60_a_body_without_value(server_3d: Server, body: bytes) -> None:
    for route in ("threshold", "channel", "presmoothingsigmas"):
        assert "value" in problem_of(server_3d.ask(f"/{route}/set", method="POST", body=body), 400)["detail"]


@pytest.mark.parametrize(
    ("route", "value"),
    [
        *(("threshold", value) for value in ("0.5", None, True, [0.5], float("nan"), float("inf"), 10**400)),
        *(("channel", value) for value in (3, -1, 1.0, "0", None, True, 10**30)),
        *(("presmoothingsigmas", value) for value in ([1.0], [1, 1, 1, 1], [1, 1, -1], [1, 1, "1"], 1.0, "1_1_1")),
        ("presmoothingsigmas", [1, 1, float("nan")]),
        ("presmoothingsigmas", [1, 1, 1e9]),
        ("presmoothingsigmas", [1, 1, True]),
    ],
)
def test_item_60_and_61_values_are_checked(server_3d: Server, route: str, value: Any) -> None:
    before = server_3d.ask(f"/{route}/get").text
    problem_of(tell(server_3d, route, value), 400)
    assert server_3d.ask(f"/{route}/get").text == before


def test_item_61_sigmas_are_as_many_as_the_plane_has_axes(server_t: Server) -> None:
    assert server_t.ask("/presmoothingsigmas/get").text == "1.0_1.0"
    problem_of(tell(server_t, "presmoothingsigmas", [1, 1, 1]), 400)
    assert tell(server_t, "presmoothingsigmas", [2, 1]).status == 200
    assert server_t.ask("/presmoothingsigmas/get").text == "2.0_1.0"
    assert tell(server_t, "presmoothingsigmas", None).status == 200


def test_item_62_setup_and_doc(server_3d: Server) -> None:
    assert server_3d.ask("/setup").text == "Done!"
    assert "/labelvolume/" in server_3d.ask("/doc").text


def test_item_64_a_label_image_is_of_one_frame(server_t: Server) -> None:
    prob = values_of(ask_box(server_t, "/prediction/raw/roi", (0,) * 5, (3, 44, 40, 1, 2)), "<f4", (3, 44, 40, 1, 2))
    expected = label(prob[1:2, :, :, 0], 0, 0.5, (1.0, 1.0))
    found = values_of(ask_box(server_t, "/labelimage/raw/roi", (1, 0, 0, 0, 0), (2, 44, 40, 1, 1)), "<u4", (44, 40))
    assert np.array_equal(found, expected)
    problem_of(ask_box(server_t, "/labelimage/raw/roi", (0, 0, 0, 0, 0), (2, 44, 40, 1, 1)), 400)
    problem_of(ask_box(server_t, "/labelimage/raw/roi", (0, 0, 0, 0, 0), (1, 44, 40, 1, 2)), 400)


def test_item_68_settings_hold_from_the_next_request_and_over_a_restart(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    with serving(*files, "--axes", "zyx", folder=tmp_path, environment=SMALL) as server:
        before = server.ask("/labelvolume/raw/0").body
        assert tell(server, "threshold", 0.9).status == 200
        assert tell(server, "presmoothingsigmas", [2, 2, 1]).status == 200
        after = server.ask("/labelvolume/raw/0").body
        assert before != after
    with serving(*files, "--axes", "zyx", folder=tmp_path, environment=SMALL) as server:
        assert server.ask("/threshold/get").text == "0.9"
        assert server.ask("/presmoothingsigmas/get").text == "2.0_2.0_1.0"
        assert server.ask("/labelvolume/raw/0").body == after
        assert server.ask("/labelvolume/raw/0").headers["Cache-Control"] == "no-cache"


def test_a_frame_that_is_too_large_names_the_command(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, fresh_settings: None
) -> None:
    monkeypatch.setenv("VOXELFOREST_LABEL_FRAME_VOXELS", "56239")
    with serving_here(*files, axes="zyx") as server:
        refused = problem_of(server.ask("/labelimage/raw/roi?extents_min=0_0&extents_max=5_5"), 413)
        assert "voxelforest segment" in refused["detail"]
