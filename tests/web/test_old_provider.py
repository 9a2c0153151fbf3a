"""Section B of the old services' checklist, the data provider, over a real socket; numbers are those of its items."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from pipeline.metadata import axistags
from tests.servers import Address, Server, serving_here
from tests.web.old_boxes import Array, ask_box, dataset_of, picture_of, problem_of, stretched, values_of

ROI = "/raw/raw/roi"
WHOLE = (0, 0, 0, 0, 0), (1, 38, 40, 37, 1)


@pytest.fixture(scope="module")
def raw(golden_dir: Path) -> npt.NDArray[np.uint8]:
    """The served volume, (t, x, y, z, c)."""
    return np.load(golden_dir / "in_3d_u8.npy").transpose(2, 1, 0)[None, ..., None]


@pytest.fixture(scope="module")
def server_xyzc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Address, Array]]:
    """Raw data alone, four channels of float32 in a file whose axes are x y z c; and the same as (t, x, y, z, c)."""
    folder = tmp_path_factory.mktemp("xyzc")
    values = np.linspace(-1, 1, 480, dtype=np.float32).reshape(4, 5, 6, 4)
    np.save(folder / "film.npy", values)
    with serving_here(None, folder / "film.npy", axes="xyzc") as server:
        yield server, values[None]


def test_item_17_boxes_of_five_numbers_in_all_formats(server_3d: Server, raw: Array) -> None:
    start, stop = (0, 3, 4, 5, 0), (1, 10, 12, 9, 1)
    inside = raw[:, 3:10, 4:12, 5:9]
    assert np.array_equal(values_of(ask_box(server_3d, ROI, start, stop), "u1", (1, 7, 8, 4, 1)), inside)
    assert np.array_equal(dataset_of(ask_box(server_3d, "/raw/hdf5/roi", start, stop)), inside)
    plane = (1, 10, 12, 6, 1)
    for fmt in ("png", "tiff"):
        shown = picture_of(ask_box(server_3d, f"/raw/{fmt}/roi", start, plane))
        assert np.array_equal(shown, stretched(inside[0, :, :, 0, 0]).T)


def test_item_17_boxes_of_three_and_two_numbers(server_3d: Server, raw: Array) -> None:
    three = values_of(ask_box(server_3d, ROI, (3, 4, 5), (10, 12, 9)), "u1", (1, 7, 8, 4, 1))
    assert np.array_equal(three, raw[:, 3:10, 4:12, 5:9])
    two = values_of(ask_box(server_3d, ROI, (3, 4), (10, 12)), "u1", (1, 7, 8, 1, 1))
    assert np.array_equal(two, raw[:, 3:10, 4:12, :1])


def test_item_18_negative_stop_counts_from_the_end(server_3d: Server, raw: Array) -> None:
    found = values_of(ask_box(server_3d, ROI, (0, 30, 30, 0, 0), (1, -1, -2, -35, 1)), "u1", (1, 7, 8, 2, 1))
    assert np.array_equal(found, raw[:, 30:37, 30:38, :2])
    assert values_of(ask_box(server_3d, ROI, (0, 0), (-1, -1)), "u1", (1, 37, 39, 1, 1)).size
    problem_of(ask_box(server_3d, ROI, (0, -1, 30, 0, 0), (1, 38, 40, 1, 1)), 400)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?extents_min=0_0_0_0_0",
        "?extents_max=1_1_1_1_1",
        "?extents_min=0_0_0_0&extents_max=1_1_1_1",
        "?extents_min=0_0_0&extents_max=1_1_1_1_1",
        "?extents_min=0_a_0_0_0&extents_max=1_5_5_1_1",
        "?extents_min=0_0.5_0_0_0&extents_max=1_5_5_1_1",
        "?extents_min=0_+1_0_0_0&extents_max=1_5_5_1_1",
        "?extents_min=0_%201_0_0_0&extents_max=1_5_5_1_1",
        "?extents_min=0_%D9%A3_0_0_0&extents_max=1_5_5_1_1",
        "?extents_min=0_1e1_0_0_0&extents_max=1_20_5_1_1",
        "?extents_min=0_5_5_0_0&extents_max=1_5_6_1_1",
        "?extents_min=0_6_5_0_0&extents_max=1_5_6_1_1",
        "?extents_min=0_-1_5_0_0&extents_max=1_5_6_1_1",
        "?extents_min=0_0_0_0_0&extents_max=1_39_40_1_1",
        "?extents_min=0_0_0_0_0&extents_max=2_38_40_1_1",
        "?extents_min=0_0_0_0_0&extents_max=1_38_40_1_2",
        "?extents_min=0_0_0_0_0&extents_max=1_-38_40_1_1",
        "?extents_min=0_0_0_0_0&extents_max=1_99999999999999999999999_40_1_1",
        "?extents_min=____&extents_max=____",
    ],
)
def test_item_19_what_is_wrong_is_a_400_that_says_what_is_allowed(server_3d: Server, query: str) -> None:
    assert problem_of(server_3d.ask(ROI + query), 400)["allowed"]


def test_item_19_unknown_formats_routes_and_methods(server_3d: Server) -> None:
    assert problem_of(ask_box(server_3d, "/raw/jpg/roi", *WHOLE), 400)["allowed"] == "raw, tiff, png, hdf5"
    problem_of(server_3d.ask("/raw/raw"), 404)
    refused = server_3d.ask("/info/dtype", method="POST")
    problem_of(refused, 405)
    assert "GET" in refused.headers["Allow"]


def test_item_20_type_shape_and_dimensions(server_3d: Server, server_xyzc: tuple[Address, Array]) -> None:
    told = {word: server_3d.ask(f"/info/{word}") for word in ("dtype", "shape", "dim")}
    assert {word: reply.text for word, reply in told.items()} == {"dtype": "uint8", "shape": "1_38_40_37_1", "dim": "3"}
    assert {reply.headers["Content-Type"] for reply in told.values()} == {"text/html; charset=utf-8"}
    assert server_xyzc[0].ask("/info/dtype").text == "float32"
    assert server_xyzc[0].ask("/info/shape").text == "1_4_5_6_4"


def test_item_21_doc_lists_routes_with_what_they_do_and_their_methods(server_3d: Server) -> None:
    page = server_3d.ask("/doc")
    assert page.headers["Content-Type"].startswith("text/html")
    for route in ("/info/dim", "/info/dtype", "/info/shape", "/raw/&lt;fmt&gt;/roi", "/doc"):
        assert re.search(rf"GET\s+{re.escape(route)}</h2>\s*<p>\w", page.text), route
    assert re.search(r"POST\s+/threshold/set", page.text)


def test_item_22_raw_is_c_order_little_endian_without_header(server_xyzc: tuple[Address, Array]) -> None:
    server, values = server_xyzc
    reply = ask_box(server, ROI, (0, 1, 1, 2, 0), (1, 4, 4, 5, 4))
    assert reply.body == np.ascontiguousarray(values[:, 1:4, 1:4, 2:5], "<f4").tobytes()
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert reply.headers["Cache-Control"] == "public, max-age=43200"


def test_item_23_pictures_have_x_across_and_are_stretched(server_3d: Server, raw: Array) -> None:
    for fmt in ("png", "tiff"):
        shown = picture_of(ask_box(server_3d, f"/raw/{fmt}/roi", (0, 3, 4, 9, 0), (1, 20, 14, 10, 1)))
        assert shown.shape == (10, 17)
        assert np.array_equal(shown, stretched(raw[0, 3:20, 4:14, 9, 0]).T)
        constant = picture_of(ask_box(server_3d, f"/raw/{fmt}/roi", (0, 3, 4, 9, 0), (1, 4, 5, 10, 1)))
        assert np.array_equal(constant, [[0]])


def test_item_24_more_than_one_plane_is_refused_and_channels_are_colours(
    server_3d: Server, server_xyzc: tuple[Address, Array]
) -> None:
    server, values = server_xyzc
    for fmt in ("png", "tiff"):
        problem_of(ask_box(server_3d, f"/raw/{fmt}/roi", (0, 3, 4, 9, 0), (1, 20, 14, 11, 1)), 400)
        for channels in (2, 3, 4):
            shown = picture_of(ask_box(server, f"/raw/{fmt}/roi", (0, 0, 0, 1, 0), (1, 4, 5, 2, channels)))
            assert np.array_equal(shown, stretched(values[0, :, :, 1, :channels]).swapaxes(0, 1))


def test_item_24_more_than_four_channels_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", np.zeros((5, 6, 7), np.uint8))
    with serving_here(None, tmp_path / "many.npy", axes="cyx") as server:
        problem_of(server.ask("/raw/png/roi?extents_min=0_0&extents_max=7_6"), 400)
        assert server.ask("/raw/png/roi?extents_min=0_0_0_0_1&extents_max=1_7_6_1_5").status == 200


def test_item_25_hdf5_holds_one_plain_dataset(server_xyzc: tuple[Address, Array]) -> None:
    server, values = server_xyzc
    reply = ask_box(server, "/raw/hdf5/roi", (0, 1, 1, 2, 1), (1, 4, 4, 5, 3))
    assert reply.headers["Content-Type"] == "application/octet-stream"
    found = dataset_of(reply)
    assert found.dtype == np.float32
    assert np.array_equal(found, values[:, 1:4, 1:4, 2:5, 1:3])


def test_item_26_no_file_is_left_behind(server_3d: Server) -> None:
    folder = server_3d.log.parent / "tmp"
    assert ask_box(server_3d, "/raw/raw/roi", (0, 0), (5, 5)).status == 200
    before = set(folder.rglob("*"))  # what Dask keeps of its own
    for fmt in ("png", "tiff", "hdf5"):
        assert ask_box(server_3d, f"/raw/{fmt}/roi", (0, 0), (5, 5)).status == 200
    assert set(folder.rglob("*")) == before


def test_item_27_dataset_axes_and_the_first_part_alone(tmp_path: Path) -> None:
    values = np.arange(2 * 4 * 5 * 6 * 3, dtype=np.uint16).reshape(2, 4, 5, 6, 3)  # c t z x y
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["a/volume"] = values.reshape(3, 2, 4, 5, 6)
        file["other"] = np.zeros((3, 3))
    options = {"dataset": "a/volume", "axes": "ctzxy", "max_size": "x=3,z=2,c=2"}
    with serving_here(None, tmp_path / "raw.h5", **options) as server:
        assert server.ask("/info/shape").text == "2_3_6_2_2"
        found = values_of(ask_box(server, ROI, (0,) * 5, (2, 3, 6, 2, 2)), "<u2", (2, 3, 6, 2, 2))
        assert np.array_equal(found, values.reshape(3, 2, 4, 5, 6).transpose(1, 3, 4, 2, 0)[:, :3, :, :2, :2])
        problem_of(ask_box(server, ROI, (0,) * 5, (2, 4, 6, 2, 2)), 400)


def test_item_28_axes_are_those_of_the_file_or_follow_from_their_number(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["exported_data"] = np.arange(42, dtype=np.uint8).reshape(6, 7)
        file["exported_data"].attrs["axistags"] = axistags("xy", {})
    with serving_here(None, tmp_path / "raw.h5") as server:
        assert server.ask("/info/shape").text == "1_6_7_1_1"
    np.save(tmp_path / "plain.npy", np.zeros((6, 7), np.uint8))
    with serving_here(None, tmp_path / "plain.npy") as server:
        assert server.ask("/info/shape").text == "1_7_6_1_1"


def test_item_29_every_axis_is_cut(server_t: Server, server_xyzc: tuple[Address, Array], golden_dir: Path) -> None:
    film = np.load(golden_dir / "in_t_u8.npy").transpose(0, 2, 1)[..., None, None]
    found = values_of(ask_box(server_t, ROI, (1, 1, 2, 0, 0), (3, 3, 5, 1, 1)), "u1", (2, 2, 3, 1, 1))
    assert np.array_equal(found, film[1:3, 1:3, 2:5])
    server, values = server_xyzc
    one = values_of(ask_box(server, ROI, (0, 0, 0, 0, 1), (1, 2, 2, 2, 2)), "<f4", (1, 2, 2, 2, 1))
    assert np.array_equal(one, values[:, :2, :2, :2, 1:2])


def test_item_30_many_at_a_time_on_loopback(server_3d: Server, raw: Array) -> None:
    boxes = [((0, i, i, i, 0), (1, i + 9, i + 8, i + 7, 1)) for i in range(24)]
    with ThreadPoolExecutor(12) as threads:
        replies = list(threads.map(lambda box: ask_box(server_3d, ROI, *box), boxes))
    for i, reply in enumerate(replies):
        assert np.array_equal(values_of(reply, "u1", (1, 9, 8, 7, 1)), raw[:, i : i + 9, i : i + 8, i : i + 7])
    assert server_3d.address[0] == "127.0.0.1"
