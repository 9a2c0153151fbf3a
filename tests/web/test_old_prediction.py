"""Sections E and H of the old services' checklist, worker and gateway, over a real socket; numbers are its items'."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipeline.lazy import predict
from pipeline.project import open_project
from pipeline.volume import as_array
from tests.commands import COMMAND
from tests.runs import open_input
from tests.servers import Address, Server, serving_here
from tests.web.old_boxes import Array, ask_box, dataset_of, picture_of, problem_of, stretched, values_of

ROI = "/prediction/raw/roi"
WHOLE = (0, 0, 0, 0, 0), (1, 38, 40, 37, 3)


def predicted(golden_dir: Path, project: str) -> Array:
    """What Python computes, (t, x, y, z, c)."""
    array = predict(as_array(open_input(golden_dir, project)), open_project(golden_dir / "projects" / f"{project}.ilp"))
    missing = [axis for axis in "txyzc" if axis not in array.dims]
    return np.asarray(array.expand_dims(missing).transpose(*"txyzc").compute())


@pytest.fixture(scope="module")
def prob(golden_dir: Path) -> Array:
    """Probabilities of the 3-D volume, (1, 38, 40, 37, 3)."""
    return predicted(golden_dir, "pc_3d")


@pytest.fixture(scope="module")
def prob_t(golden_dir: Path) -> Array:
    """Probabilities of the film, (3, 44, 40, 1, 2)."""
    return predicted(golden_dir, "pc_t_2d")


def test_items_40_56_and_63_one_command_has_the_options_of_three_services() -> None:
    shown = subprocess.run([COMMAND, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    for option in ("--port", "--workers", "--cache", "--dataset", "--axes", "--max-size"):
        assert option in shown


def test_item_41_routes_of_the_worker(server_3d: Server, server_t: Server) -> None:
    assert server_3d.ask("/prediction/numclasses").text == "3"
    assert server_3d.ask("/prediction/blockshape").text == "1_16_16_16_1"
    assert server_t.ask("/prediction/blockshape").text == "1_16_16_1_1"
    for block in ("-1", "27", "1.0", "abc", "0x1", "%D9%A3", "99999999999999999999"):
        problem_of(server_3d.ask(f"/prediction/raw/{block}"), 400)
    problem_of(server_3d.ask("/prediction/jpg/0"), 400)
    for route in (
        "/prediction/numclasses",
        "/prediction/blockshape",
        "/prediction/cachedblockids",
        "/prediction/raw/0",
    ):
        problem_of(server_3d.ask(route, method="POST"), 405)


def test_item_42_setup_is_done(server_3d: Server) -> None:
    assert server_3d.ask("/setup").text == "Done!"


def test_item_43_blocks_are_numbered_with_z_fastest_and_cut_at_the_border(server_3d: Server, prob: Array) -> None:
    places = [(x, y, z) for x in range(3) for y in range(3) for z in range(3)]
    for number, corner in enumerate(places):
        low = [16 * i for i in corner]
        high = [min(a + 16, n) for a, n in zip(low, (38, 40, 37), strict=True)]
        shape = (1, *(b - a for a, b in zip(low, high, strict=True)), 3)
        found = values_of(server_3d.ask(f"/prediction/raw/{number}"), "<f4", shape)
        assert np.array_equal(found, prob[(slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))]), (
            number
        )


def test_item_44_values_do_not_depend_on_blocks(server_3d: Server, prob: Array) -> None:
    for start, stop in (((0, 0, 0), (38, 40, 1)), ((5, 0, 0), (6, 40, 37)), ((3, 3, 3), (23, 20, 29))):
        shape = (1, *(b - a for a, b in zip(start, stop, strict=True)), 3)
        inside = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        assert np.array_equal(values_of(ask_box(server_3d, ROI, start, stop), "<f4", shape), prob[0][inside][None])


def test_items_45_and_46_values_are_those_of_ilastik(server_3d: Server, golden_dir: Path) -> None:
    golden = np.load(golden_dir / "probabilities.npz")["prob_pc_3d"].transpose(2, 1, 0, 3)[None]
    found = values_of(ask_box(server_3d, ROI, *WHOLE), "<f4", (1, 38, 40, 37, 3))
    assert np.allclose(found, golden, atol=1e-6)


def test_item_47_and_67_payloads_are_float32_with_all_classes(server_3d: Server, prob: Array) -> None:
    # whatever the c range says
    for channels in ((0, 1), (0, 3), (1, 2), (2, 99), (0, -1)):
        start, stop = (0, 3, 4, 5, channels[0]), (1, 13, 12, 9, channels[1])
        found = values_of(ask_box(server_3d, ROI, start, stop), "<f4", (1, 10, 8, 4, 3))
        assert np.array_equal(found, prob[:, 3:13, 4:12, 5:9])
    data = dataset_of(ask_box(server_3d, "/prediction/hdf5/roi", (0, 3, 4, 5, 0), (1, 13, 12, 9, 1)))
    assert data.dtype == np.float32
    assert np.array_equal(data, prob[:, 3:13, 4:12, 5:9])
    block = dataset_of(server_3d.ask("/prediction/hdf5/0"))
    assert np.array_equal(block, prob[:, :16, :16, :16])


def test_item_48_frames_and_classes_as_colours(server_t: Server, prob_t: Array) -> None:
    found = values_of(ask_box(server_t, ROI, (1, 2, 3, 0, 0), (3, 22, 33, 1, 2)), "<f4", (2, 20, 30, 1, 2))
    assert np.array_equal(found, prob_t[1:3, 2:22, 3:33])
    for fmt in ("png", "tiff"):
        shown = picture_of(ask_box(server_t, f"/prediction/{fmt}/roi", (1, 2, 3, 0, 0), (2, 22, 33, 1, 2)))
        assert np.array_equal(shown, stretched(prob_t[1, 2:22, 3:33, 0]).swapaxes(0, 1))


@pytest.mark.usefixtures("small_blocks")
def test_items_41_and_49_a_block_is_computed_once_and_listed(golden_dir: Path) -> None:
    with serving_here(golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy", axes="zyx") as server:
        assert server.ask("/prediction/cachedblockids").text == ""
        with ThreadPoolExecutor(24) as threads:
            bodies = {reply.body for reply in threads.map(server.ask, ["/prediction/raw/13"] * 24)}
        assert len(bodies) == 1
        assert _computations(server) == 1
        assert server.ask("/prediction/raw/13").body in bodies
        assert _computations(server) == 1
        for block in (26, 3):
            assert server.ask(f"/prediction/raw/{block}").status == 200
        assert server.ask("/prediction/cachedblockids").text == "13,26,3"


def _computations(server: Address) -> float:
    lines = server.ask("/metrics").text.splitlines()
    (line,) = (line for line in lines if line.startswith("voxelforest_cache_misses_total"))
    return float(line.split()[-1])


def test_item_64_gateway_serves_all_three(server_3d: Server, prob: Array, golden_dir: Path) -> None:
    raw = np.load(golden_dir / "in_3d_u8.npy").transpose(2, 1, 0)[None, ..., None]
    assert np.array_equal(
        values_of(ask_box(server_3d, "/raw/raw/roi", *WHOLE[:1], (1, 38, 40, 37, 1)), "u1", raw.shape), raw
    )
    assert np.array_equal(values_of(ask_box(server_3d, ROI, *WHOLE), "<f4", prob.shape), prob)
    found = ask_box(server_3d, "/labelimage/raw/roi", (0, 0, 0, 0, 0), (1, -1, -1, -1, 1))
    assert len(found.body) == 4 * 37 * 39 * 36
    two = ask_box(server_3d, ROI, (3, 4), (-1, -1))
    assert np.array_equal(values_of(two, "<f4", (1, 34, 35, 1, 3)), prob[:, 3:37, 4:39, :1])


def test_item_65_what_the_gateway_tells(server_3d: Server) -> None:
    told = {
        "/prediction/info/numclasses": "3",
        "/raw/info/dtype": "uint8",
        "/raw/info/shape": "1_38_40_37_1",
        "/raw/info/dim": "3",
        "/setup": "Done!",
    }
    assert {route: server_3d.ask(route).text for route in told} == told


def test_item_66_nothing_has_to_be_set_up_first(golden_dir: Path, server_t: Server) -> None:
    assert server_t.ask("/prediction/numclasses").text == "2"
    assert server_t.ask("/raw/info/dim").text == "2"


def test_heads_have_no_body(server_3d: Server) -> None:
    reply = server_3d.ask("/raw/raw/roi?extents_min=0_0&extents_max=5_5", method="HEAD")
    assert (reply.status, reply.body, reply.headers["Content-Length"]) == (200, b"", "25")


def test_raw_data_alone_has_no_predictions(tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", np.zeros((6, 7), np.uint8))
    with serving_here(None, tmp_path / "raw.npy") as server:
        problem_of(server.ask("/prediction/raw/roi?extents_min=0_0&extents_max=5_5"), 409)
        problem_of(server.ask("/prediction/numclasses"), 409)
        problem_of(server.ask("/threshold/set", method="POST", body=b'{"value": 1}'), 409)
