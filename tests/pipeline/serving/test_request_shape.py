"""Slices are made as slices and chunks as chunks; what is there already is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.blocks import Box
from pipeline.serving import request_shape
from pipeline.serving.piece import Piece, grid_pieces
from pipeline.serving.request_shape import cover, cut, price
from tests.served import make_catalogue


def _nothing(_: Piece) -> bool:
    return False


def test_a_plane_is_made_as_a_plane_unless_its_chunks_are_there(tmp_path: Path) -> None:
    layer = make_catalogue(tmp_path, "zyx").layer("raw", "probabilities")
    plane = Box((0, 5, 0, 0), (1, 6, 50, 41))
    cold = cover(layer, 0, plane, _nothing)
    assert {piece.box.shape[1] for piece in cold} == {1}
    chunks = grid_pieces(layer, 0, plane)
    assert list(cover(layer, 0, plane, lambda piece: piece in chunks)) == chunks
    assert sum(price(piece, _nothing) for piece in cold) < sum(price(chunk, _nothing) for chunk in chunks)


@pytest.mark.parametrize("axes", ["yx", "zyx"])
def test_the_halo_has_its_price(tmp_path: Path, axes: str) -> None:
    layer = make_catalogue(tmp_path, axes).layer("raw", "probabilities")
    piece = Piece(layer, 0, Box((0, 0, 8, 8), (1, 1, 16, 16)))
    assert price(piece, _nothing) > 1.5 * piece.box.size


@pytest.mark.parametrize(("share", "pieces"), [(0.001, 4), (0.06, 1)])
def test_a_region_is_cut_for_threads_to_share_where_halos_cost_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, pieces: int
) -> None:
    monkeypatch.setenv("VOXELFOREST_CHUNK_VOXELS", "1024")
    monkeypatch.setattr(request_shape, "FILTER_SHARE", share)
    layer = make_catalogue(tmp_path, "zyx").layer("raw", "probabilities")
    box = Box((0, 5, 2, 1), (1, 6, 34, 33))
    cover = cut(layer, 0, box)
    assert len(cover) == pieces
    assert sum(piece.box.size for piece in cover) == box.size
    assert all(box.contains(piece.box) for piece in cover)


def test_whole_chunks_are_made_as_chunks(tmp_path: Path) -> None:
    layer = make_catalogue(tmp_path, "zyx").layer("raw", "segmentation")
    box = Box((0, 16, 0, 32), (1, 37, 16, 41))
    assert [piece.box for piece in cover(layer, 0, box, _nothing)] == [
        Box((0, 16, 0, 32), (1, 32, 16, 41)),
        Box((0, 32, 0, 32), (1, 37, 16, 41)),
    ]
    assert all(piece.is_chunk for piece in cover(layer, 0, box, _nothing))


def test_a_plane_of_a_coarse_level_is_made_of_few_planes(tmp_path: Path) -> None:
    layer = make_catalogue(tmp_path, "zyx").layer("raw", "probabilities")
    (piece, *_) = cover(layer, 1, Box((0, 3, 0, 0), (1, 4, 25, 21)), _nothing)
    children = piece.children(lambda layer, level, box: cover(layer, level, box, _nothing))
    assert {(child.box.start[1], child.box.stop[1]) for child in children} == {(6, 8)}


def test_keys_name_digest_level_and_box(tmp_path: Path) -> None:
    layer = make_catalogue(tmp_path, "zyx").layer("raw", "uncertainty")
    piece = Piece(layer, 0, Box((0, 0, 16, 0), (1, 16, 32, 16)))
    assert len(layer.digest) == 32
    assert piece.key == f"uncertainty-{layer.digest}-0-0.1_0.16_16.32_0.16"
