"""Labels of whole maps, through every way to them, against ilastik's answers and SciPy's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import skimage.measure
from distributed import Client
from hypothesis import given, note, settings
from pydantic import ByteSize
from scipy import ndimage

from pipeline import label_steps, labelling
from pipeline.blocks import Box
from pipeline.cluster import connect
from pipeline.config import Settings
from pipeline.errors import CancelledError, PlanError
from pipeline.labelling import LabelPlan, choose_block, label_frame, label_volume, plan_labels
from pipeline.progress import BlockDone, Event, Progress, StageStarted
from pipeline.thresholding import Thresholding
from tests.objects import ArraySource, MapCase, draw_mask, golden_cases, map_cases, some_blocks

Array = npt.NDArray[Any]
SHARP = Thresholding(sigma_zyx=(0.0, 0.0, 0.0), min_size=0, max_size=10**9)
GOLDEN = sorted(golden_cases(Path(__file__).parents[1] / "golden"))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connect("threads", 2) as client:
        yield client


@dataclass(frozen=True)
class Canvas:
    """A file that blocks of labels are written to; picklable. Writing fails after so many blocks, if asked to."""

    folder: Path
    shape: tuple[int, ...]
    fail_after: int | None = None

    @property
    def labels(self) -> Array:
        """All that is written, 0 elsewhere."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "labels.raw"
        return np.memmap(path, np.uint64, "r+" if path.exists() else "w+", shape=self.shape)

    def written(self, box: Box) -> bool:
        """Whether a block was written."""
        return (self.folder / str(box)).exists()

    def count(self) -> int:
        """How many blocks were written."""
        return len(list(self.folder.glob("t=*")))

    def write(self, box: Box, labels: npt.NDArray[np.uint64]) -> None:
        if self.fail_after is not None and self.count() >= self.fail_after:
            raise PlanError("the disk is full")
        self.labels[box.slices()] = labels
        (self.folder / str(box)).touch()


def run(
    client: Client,
    prob: Array,
    plan: LabelPlan,
    folder: Path,
    canvas: Canvas | None = None,
    key: str = "k",
    **options: Any,
) -> tuple[Array, labelling.LabelSummary, list[Event]]:
    """Labels (t, z, y, x) of a map (t, c, z, y, x), through the files of `label_volume`."""
    events: list[Event] = []
    canvas = canvas or Canvas(folder.with_name(f"{folder.name}-canvas"), plan.image.shape)
    assert canvas.labels.size
    summary = label_volume(
        client,
        ArraySource(prob),
        plan,
        folder,
        canvas.write,
        key=f"{key}-{folder}",
        progress=Progress(events.append),
        **options,
    )
    return canvas.labels, summary, events


def plan_of(prob: Array, block: tuple[int, ...], thresholding: Thresholding, **options: Any) -> LabelPlan:
    image = Box.whole((len(prob), *prob.shape[2:]))
    return plan_labels(image, block, thresholding, n_channels=prob.shape[1], **options)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_frame_has_ilastiks_labels(name: str, golden_dir: Path) -> None:
    prob, expected, thresholding = golden_cases(golden_dir)[name]
    got = [label_frame(frame, thresholding, renumber=False, dtype="uint32") for frame in prob]
    np.testing.assert_array_equal(np.stack([labels for labels, _ in got]), expected)
    assert got[0][0].dtype == np.uint32


@pytest.mark.parametrize("name", ["hysteresis_two_channels", "snake", "percolation_3d", "time_series_hysteresis"])
def test_blocks_through_a_client_have_ilastiks_labels(
    name: str, golden_dir: Path, client: Client, tmp_path: Path
) -> None:
    prob, expected, thresholding = golden_cases(golden_dir)[name]
    for number, block in enumerate(some_blocks(expected.shape[1:])[:3]):
        plan = plan_of(prob, block, thresholding, renumber=False)
        labels, summary, _ = run(client, prob, plan, tmp_path / str(number))
        np.testing.assert_array_equal(labels, expected)
        assert summary.objects == tuple(len(np.unique(frame)) - 1 for frame in expected)


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


def test_a_run_that_failed_goes_on_and_repeats_nothing(client: Client, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    prob = ndimage.gaussian_filter(rng.random((2, 1, 20, 24, 26)), (0, 0, 1, 1, 1)).astype(np.float32)
    plan = plan_of(prob, (1, 8, 8, 8), Thresholding(low=0.52, min_size=0))
    expected = np.stack([label_frame(frame, plan.rules.thresholding)[0] for frame in prob])
    canvas = Canvas(tmp_path / "canvas", plan.image.shape)
    with pytest.raises(PlanError, match="disk is full"):
        run(client, prob, plan, tmp_path, replace(canvas, fail_after=30), "first")
    done = canvas.count()
    labels, _, events = run(client, prob, plan, tmp_path, canvas, "again", is_written=canvas.written)
    np.testing.assert_array_equal(labels, expected)
    blocks = {event.name: event.blocks for event in events if isinstance(event, StageStarted)}
    assert blocks == {"label": 0, "merge-1": 0, "merge-2": 0, "sort": 0, "relabel": plan.n_blocks - done}


def test_a_run_that_was_cut_off_anywhere_goes_on(client: Client, tmp_path: Path) -> None:
    prob = np.random.default_rng(5).random((1, 1, 12, 20, 20), np.float32)
    plan = plan_of(prob, (1, 4, 4, 4), replace(SHARP, low=0.6))
    expected = label_frame(prob[0], plan.rules.thresholding)[0]
    calls = iter(range(10**6))
    with pytest.raises(CancelledError):
        run(client, prob, plan, tmp_path, key="cancelled", cancelled=lambda: next(calls) > 4)
    files = sorted(tmp_path.rglob("*.objects"))
    assert len(files) > 0
    files[0].unlink()
    labels, _, _ = run(client, prob, plan, tmp_path)
    np.testing.assert_array_equal(labels[0], expected)


def test_tasks_may_come_in_any_order_and_twice(tmp_path: Path) -> None:
    prob = np.random.default_rng(6).random((1, 1, 9, 17, 13), np.float32)
    plan = plan_of(prob, (1, 3, 4, 4), replace(SHARP, low=0.6), connectivity="full")
    expected = label_frame(prob[0], plan.rules.thresholding, connectivity="full")[0]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        work = label_steps.Work(plan.image, plan.tree, plan.rules, plan.smoother, tmp_path / str(seed))
        canvas = Canvas(tmp_path / f"canvas-{seed}", plan.image.shape)
        for level in range(plan.tree.top + 1):
            places = list(work.places(level))
            for i in rng.permutation(len(places) * 2) % len(places):
                if level:
                    label_steps.merge(work, places[i])
                else:
                    label_steps.label(work, ArraySource(prob), places[i])
        parts = work.parts()
        for part in parts:
            label_steps.sort(work, part)
        for i in rng.permutation(plan.n_blocks):
            label_steps.relabel(work, parts, canvas.write, list(work.places(0))[i])
        np.testing.assert_array_equal(canvas.labels[0], expected)


def test_a_list_in_many_parts_gives_the_same_ids(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_steps, "PART_OBJECTS", 7)
    prob = np.random.default_rng(7).random((2, 1, 14, 15, 16), np.float32)
    for renumber in (True, False):
        plan = plan_of(prob, (1, 5, 5, 5), replace(SHARP, low=0.8, min_size=2), renumber=renumber)
        labels, summary, events = run(client, prob, plan, tmp_path / str(renumber))
        expected = [label_frame(frame, plan.rules.thresholding, renumber=renumber) for frame in prob]
        np.testing.assert_array_equal(labels, np.stack([frame for frame, _ in expected]))
        assert summary.kept == sum(one.kept for _, one in expected)
        parts = next(e.blocks for e in events if isinstance(e, StageStarted) and e.name == "sort")
        assert parts > 2 * sum(summary.objects) / 20


@pytest.mark.parametrize("shape", [(16, 64, 64), (8, 72, 8), (24, 24, 24)])
def test_few_tasks_and_few_levels(shape: tuple[int, ...], client: Client, tmp_path: Path) -> None:
    prob = np.random.default_rng(1).random((1, 1, *shape), np.float32)
    plan = plan_of(prob, (1, 8, 8, 8), replace(SHARP, low=0.7))
    _, _, events = run(client, prob, plan, tmp_path)
    done = {event.name: event.blocks_done for event in events if isinstance(event, BlockDone)}
    n, merging = plan.n_blocks, sum(count for name, count in done.items() if name not in ("label", "relabel"))
    assert done["label"] == done["relabel"] == n
    assert sum(done.values()) == plan.n_tasks <= 3 * n + n / 8
    assert merging - done["sort"] <= n / 8
    assert plan.tree.top <= np.ceil(np.log(n) / np.log(8))


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
