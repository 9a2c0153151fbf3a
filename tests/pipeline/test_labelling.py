"""Labels of whole frames against ilastik's answers and SciPy's, and plans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import skimage.measure
from hypothesis import given, note, settings
from pydantic import ByteSize
from scipy import ndimage

from pipeline.blocks import Box
from pipeline.config import Settings
from pipeline.errors import PlanError
from pipeline.labelling import choose_block, label_frame, plan_labels
from pipeline.thresholding import Thresholding
from tests.labelling_runs import SHARP, plan_of
from tests.objects import MapCase, draw_mask, golden_cases, map_cases

Array = npt.NDArray[Any]
GOLDEN = sorted(golden_cases(Path(__file__).parents[1] / "golden"))


@pytest.mark.parametrize("name", GOLDEN)
def test_a_frame_has_ilastiks_labels(name: str, golden_dir: Path) -> None:
    prob, expected, thresholding = golden_cases(golden_dir)[name]
    got = [label_frame(frame, thresholding, renumber=False, dtype="uint32") for frame in prob]
    np.testing.assert_array_equal(np.stack([labels for labels, _ in got]), expected)
    assert got[0][0].dtype == np.uint32


@given(case=map_cases())
@settings(max_examples=settings().max_examples * 2)
def test_drawn_frames_have_scipys_labels(case: MapCase) -> None:
    note(f"{case.prob.shape} {case.thresholding} {case.connectivity} {case.renumber}")
    expected = case.expect()
    for frame, labels in zip(case.prob, expected, strict=True):
        got, summary = label_frame(frame, case.thresholding, connectivity=case.connectivity, renumber=case.renumber)
        np.testing.assert_array_equal(got, labels)
        assert summary.kept == len(np.unique(labels[labels > 0]))


@pytest.mark.parametrize("kind", ["noise", "blobs", "diagonal"])
@pytest.mark.parametrize("connectivity", ["face", "full"])
def test_a_frame_has_scikit_images_labels(kind: str, connectivity: str) -> None:
    mask = draw_mask(kind, (9, 20, 21), np.random.default_rng(4))
    got, _ = label_frame(mask[None], replace(SHARP, low=0.5), connectivity=connectivity)
    expected = skimage.measure.label(mask, connectivity=3 if connectivity == "full" else 1)
    np.testing.assert_array_equal(got, expected)


def test_the_old_services_numbers() -> None:
    rng = np.random.default_rng(8)
    prob = rng.random((2, 7, 12, 15), np.float32)
    smooth = ndimage.gaussian_filter(prob[1].astype(np.float64), 1, mode="mirror", truncate=3)
    mask_xyz = (smooth > 0.5).T  # as the service kept it: x, y, z
    got, _ = label_frame(prob, Thresholding.old_service(channel=1), dtype="uint32")
    np.testing.assert_array_equal(got.T, ndimage.label(mask_xyz.T)[0].T)
    assert got.dtype == np.uint32
    assert not label_frame(np.full((1, 1, 9, 9), 0.5), Thresholding.old_service(sigma=0.0))[0].any()


def test_the_digest_is_of_what_decides_ids_alone() -> None:
    prob, used = np.zeros((1, 2, 20, 20, 20)), Thresholding()
    plan = plan_of(prob, (1, 8, 8, 8), used)
    assert plan.digest == plan_of(prob, (1, 5, 6, 7), used).digest
    others = [
        plan_of(prob, (1, 8, 8, 8), replace(used, low=0.6)),
        plan_of(prob, (1, 8, 8, 8), used, connectivity="full"),
        plan_of(prob, (1, 8, 8, 8), used, renumber=False),
    ]
    assert len({plan.digest, *(other.digest for other in others)}) == 4


def test_refusals() -> None:
    prob = np.zeros((1, 1, 20, 20, 20))
    with pytest.raises(PlanError, match=r"allowed are face and full; did you mean full\?"):
        plan_of(prob, (1, 8, 8, 8), Thresholding(), connectivity="ful")
    with pytest.raises(PlanError, match="there is no channel 3: the data has 1"):
        plan_of(prob, (1, 8, 8, 8), Thresholding(channel=3))
    with pytest.raises(PlanError, match="along z, but smoothing with sigma 1 needs more than 2") as caught:
        plan_of(prob[:, :, :2], (1, 8, 8, 8), Thresholding())
    assert caught.value.code == "image_too_small"
    with pytest.raises(PlanError, match="does not begin at 0"):
        plan_labels(Box((0, 1, 0, 0), (1, 9, 9, 9)), (1, 4, 4, 4), Thresholding())
    with pytest.raises(PlanError, match="300 objects, more than uint8 can number"):
        label_frame(np.tile([1.0, 0.0], 300)[None, None, None], replace(SHARP, low=0.5), dtype="uint8")


def test_a_block_is_whole_chunks_within_the_limits() -> None:
    image, used = Box.whole((3, 500, 1000, 1000)), Thresholding()
    block = choose_block(image, (1, 64, 64, 64), used, voxel_bytes=4, limits=Settings())
    assert block == (1, 128, 128, 256)
    small = Settings(task_memory=ByteSize(32 << 20))
    assert choose_block(image, (1, 64, 64, 64), used, voxel_bytes=4, limits=small) == (1, 64, 64, 128)
    assert choose_block(image, (1, 500, 1000, 1000), used, voxel_bytes=4) == (1, 500, 1000, 1000)
    assert choose_block(Box.whole((1, 1, 70, 70)), (1, 1, 64, 64), used, voxel_bytes=4) == (1, 1, 64, 64)
    assert choose_block(Box.whole((1, 64, 64, 64)), (1, 8, 8, 8), used, voxel_bytes=4) == (1, 32, 32, 32)
