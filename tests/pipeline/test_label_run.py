"""Labels of maps in blocks, through a client: the frame's own, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from distributed import Client
from scipy import ndimage

from pipeline import label_steps
from pipeline.cluster import connect
from pipeline.errors import CancelledError, PlanError
from pipeline.labelling import label_frame
from pipeline.progress import BlockDone, StageStarted
from pipeline.thresholding import Thresholding
from tests.labelling_runs import SHARP, Canvas, plan_of, run_labelling
from tests.objects import golden_cases, some_blocks

Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connect("threads", 2) as client:
        yield client


@pytest.mark.parametrize("name", ["hysteresis_two_channels", "snake", "percolation_3d", "time_series_hysteresis"])
def test_blocks_through_a_client_have_ilastiks_labels(
    name: str, golden_dir: Path, client: Client, tmp_path: Path
) -> None:
    prob, expected, thresholding = golden_cases(golden_dir)[name]
    for number, block in enumerate(some_blocks(expected.shape[1:])[:3]):
        plan = plan_of(prob, block, thresholding, renumber=False)
        labels, summary, _ = run_labelling(client, prob, plan, tmp_path / str(number))
        np.testing.assert_array_equal(labels, expected)
        assert summary.objects == tuple(len(np.unique(frame)) - 1 for frame in expected)


def test_a_run_that_failed_goes_on_and_repeats_nothing(client: Client, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    prob = ndimage.gaussian_filter(rng.random((2, 1, 20, 24, 26)), (0, 0, 1, 1, 1)).astype(np.float32)
    plan = plan_of(prob, (1, 8, 8, 8), Thresholding(low=0.52, min_size=0))
    expected = np.stack([label_frame(frame, plan.rules.thresholding)[0] for frame in prob])
    canvas = Canvas(tmp_path / "canvas", plan.image.shape)
    with pytest.raises(PlanError, match="disk is full"):
        run_labelling(client, prob, plan, tmp_path, replace(canvas, fail_after=30), "first")
    done = canvas.count()
    labels, _, events = run_labelling(client, prob, plan, tmp_path, canvas, "again", is_written=canvas.written)
    np.testing.assert_array_equal(labels, expected)
    blocks = {event.name: event.blocks for event in events if isinstance(event, StageStarted)}
    assert blocks == {"label": 0, "merge-1": 0, "merge-2": 0, "sort": 0, "relabel": plan.n_blocks - done}


def test_a_run_that_was_cut_off_anywhere_goes_on(client: Client, tmp_path: Path) -> None:
    prob = np.random.default_rng(5).random((1, 1, 12, 20, 20), np.float32)
    plan = plan_of(prob, (1, 4, 4, 4), replace(SHARP, low=0.6))
    expected = label_frame(prob[0], plan.rules.thresholding)[0]
    calls = iter(range(10**6))
    with pytest.raises(CancelledError):
        run_labelling(client, prob, plan, tmp_path, key="cancelled", cancelled=lambda: next(calls) > 4)
    files = sorted(tmp_path.rglob("*.objects"))
    assert len(files) > 0
    files[0].unlink()
    labels, _, _ = run_labelling(client, prob, plan, tmp_path)
    np.testing.assert_array_equal(labels[0], expected)


def test_a_list_in_many_parts_gives_the_same_ids(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_steps, "PART_OBJECTS", 7)
    prob = np.random.default_rng(7).random((2, 1, 14, 15, 16), np.float32)
    for renumber in (True, False):
        plan = plan_of(prob, (1, 5, 5, 5), replace(SHARP, low=0.8, min_size=2), renumber=renumber)
        labels, summary, events = run_labelling(client, prob, plan, tmp_path / str(renumber))
        expected = [label_frame(frame, plan.rules.thresholding, renumber=renumber) for frame in prob]
        np.testing.assert_array_equal(labels, np.stack([frame for frame, _ in expected]))
        assert summary.kept == sum(one.kept for _, one in expected)
        parts = next(e.blocks for e in events if isinstance(e, StageStarted) and e.name == "sort")
        assert parts > 2 * sum(summary.objects) / 20


@pytest.mark.parametrize("shape", [(16, 64, 64), (8, 72, 8), (24, 24, 24)])
def test_few_tasks_and_few_levels(shape: tuple[int, ...], client: Client, tmp_path: Path) -> None:
    prob = np.random.default_rng(1).random((1, 1, *shape), np.float32)
    plan = plan_of(prob, (1, 8, 8, 8), replace(SHARP, low=0.7))
    _, _, events = run_labelling(client, prob, plan, tmp_path)
    done = {event.name: event.blocks_done for event in events if isinstance(event, BlockDone)}
    n, merging = plan.n_blocks, sum(count for name, count in done.items() if name not in ("label", "relabel"))
    assert done["label"] == done["relabel"] == n
    assert sum(done.values()) == plan.n_tasks <= 3 * n + n / 8
    assert merging - done["sort"] <= n / 8
    assert plan.tree.top <= np.ceil(np.log(n) / np.log(8))
