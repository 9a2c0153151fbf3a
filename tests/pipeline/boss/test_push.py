"""Results pushed: every voxel where it belongs, zeros too, however often it was interrupted, whatever was there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr

from pipeline.boss import BossArchive
from pipeline.errors import ArchiveError, CancelledError, TokenError, TransientArchiveError, UnknownVolumeError
from pipeline.progress import BlockDone, Progress, StageFinished, StageStarted
from pipeline.volume import open_raw
from tests.archive_contents import Archive

START = (3, 5, 20)
SHAPE = (20, 30, 40)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A result as analyses write it: few objects, and blocks with none."""
    data = np.zeros(SHAPE, np.uint8)
    data[2:6, 3:9, 4:8] = 255
    data[15:19, 20:28, 30:39] = 1  # whatever is not zero
    return write(tmp_path / "result.zarr", data)


def write(path: Path, data: npt.NDArray[Any]) -> Path:
    """A plain Zarr array with named axes."""
    array = zarr.create_array(path, shape=data.shape, dtype=data.dtype, chunks=(8, 16, 16), dimension_names=list("zyx"))
    array[...] = data
    return path


def held(archive: Archive, channel: str = "r") -> npt.NDArray[Any]:
    """What the archive has now, over the whole frame."""
    data = archive.places["out", "results"].channels[channel].data
    assert data is not None
    return data


def expected(result: Path, around: int = 0) -> npt.NDArray[Any]:
    """What it should have."""
    whole = np.full((40, 80, 120), around, np.uint8)
    inside = tuple(slice(a, a + n) for a, n in zip(START, SHAPE, strict=True))
    whole[inside] = np.where(np.asarray(open_raw(result)[...]) != 0, 255, 0)
    return whole


def test_pushed_result_is_read_back_equal(archive: Archive, result: Path) -> None:
    url = BossArchive().push("out/results", "r", result, START)
    assert url == f"{archive.url}/v1/collection/out/experiment/results/channel/r"
    np.testing.assert_array_equal(held(archive), expected(result))
    made = archive.places["out", "results"].channels["r"]
    assert (made.dtype, made.kind) == ("uint8", "image")
    back = open_raw("boss://out/results?z=3:23&y=5:35&x=20:60&channel=r")
    np.testing.assert_array_equal(back[...], expected(result)[3:23, 5:35, 20:60])


def test_zeros_replace_what_was_there_and_nothing_else_is_touched(archive: Archive, result: Path) -> None:
    archive.add_channel("out/results/r", np.full((40, 80, 120), 255, np.uint8))
    BossArchive().push("out/results", "r", result, START)
    np.testing.assert_array_equal(held(archive), expected(result, around=255))


@pytest.mark.parametrize("resume", [True, False])
def test_second_push_changes_nothing(archive: Archive, result: Path, resume: bool) -> None:
    BossArchive().push("out/results", "r", result, START)
    archive.requests.clear()
    BossArchive().push("out/results", "r", result, START, resume=resume)
    np.testing.assert_array_equal(held(archive), expected(result))
    sent = archive.counts()["POST cutout"] + archive.counts()["PUT cutout"]
    assert (sent == 0) is resume


def test_interrupted_push_goes_on(archive: Archive, result: Path, set_up: Callable[..., None]) -> None:
    set_up(BOSS_RETRIES=0, BOSS_PUSH_REQUESTS=1)
    for _ in range(6):  # three blocks each time, and then the archive is gone
        archive.fail("drop", match="/cutout/", times=99, every=30)
        try:
            BossArchive().push("out/results", "r", result, START)
        except TransientArchiveError:
            archive.faults.clear()
            continue
        break
    archive.faults.clear()
    BossArchive().push("out/results", "r", result, START)
    np.testing.assert_array_equal(held(archive), expected(result))


@pytest.mark.parametrize("kind", ["500", "503", "drop", "cut", "lost"])
def test_faults_on_the_way_never_change_a_voxel(
    archive: Archive, result: Path, kind: str, set_up: Callable[..., None]
) -> None:
    set_up(BOSS_RETRIES=20)  # four requests at a time: the third one may be the same again and again
    archive.add_channel("out/results/r", np.full((40, 80, 120), 9, np.uint8))
    archive.fail(kind, match="", times=99, every=3)
    BossArchive().push("out/results", "r", result, START)
    np.testing.assert_array_equal(held(archive), expected(result, around=9))


def test_token_that_expires_on_the_way_is_one_error_and_a_new_one_goes_on(archive: Archive, result: Path) -> None:
    archive.fail("401", match="T /v1/cutout", times=99, every=7)
    with pytest.raises(TokenError, match="wrong or has expired"):
        BossArchive().push("out/results", "r", result, START)
    archive.faults.clear()
    archive.tokens["renewed"] = "rw"
    with BossArchive(token="renewed") as renewed:
        renewed.push("out/results", "r", result, START)
    np.testing.assert_array_equal(held(archive), expected(result))


def test_cancelled_push_ends_soon_and_goes_on(archive: Archive, result: Path, set_up: Callable[..., None]) -> None:
    set_up(BOSS_PUSH_REQUESTS=1)
    asked = iter([False, True])
    with pytest.raises(CancelledError, match="the same push goes on"):
        BossArchive().push("out/results", "r", result, START, cancelled=lambda: next(asked))
    sent = archive.counts()["POST cutout"] + archive.counts()["PUT cutout"]
    assert 2 <= sent <= 4  # those that were on their way end
    BossArchive().push("out/results", "r", result, START)
    np.testing.assert_array_equal(held(archive), expected(result))


def test_progress_counts_blocks_and_voxels(archive: Archive, result: Path) -> None:
    events: list[object] = []
    BossArchive().push("out/results", "r", result, START, progress=Progress(events.append))
    begun, ended = events[0], events[-1]
    assert isinstance(begun, StageStarted)
    assert isinstance(ended, StageFinished)
    assert begun.name == ended.name == "push r"
    assert ended.voxels == begun.voxels == np.prod(SHAPE)
    assert sum(isinstance(event, BlockDone) for event in events) == begun.blocks


def test_what_was_kept_of_the_channel_is_forgotten(archive: Archive, result: Path, tmp_path: Path) -> None:
    url = "boss://out/results?z=3:23&y=5:35&x=20:60&channel=r"
    BossArchive().push("out/results", "r", result, START)
    assert open_raw(url)[...].any()
    BossArchive().push("out/results", "r", write(tmp_path / "empty.zarr", np.zeros(SHAPE, np.uint8)), START)
    assert not open_raw(url)[...].any()


@pytest.mark.parametrize(("dtype", "kind"), [("uint16", "image"), ("uint8", "annotation")])
def test_channel_of_another_kind_is_not_written(archive: Archive, result: Path, dtype: str, kind: str) -> None:
    archive.add_channel("out/results/r", np.ones((40, 80, 120), dtype), kind=kind)
    with pytest.raises(ArchiveError, match=f"is there already, as {kind} of {dtype}; results are images of uint8"):
        BossArchive().push("out/results", "r", result, START)
    assert held(archive).all()


@pytest.mark.parametrize(
    ("target", "channel", "start", "reason"),
    [
        ("out", "r", START, "should be collection/experiment"),
        ("out/none", "r", START, "does not have this"),
        ("out/results", "r/s", START, "cannot be the name of a channel"),
        ("out/results", "r", (21, 0, 0), "z range 21,41 does not lie inside out/results"),
    ],
)
def test_wrong_places_are_refused_before_anything_is_made(
    archive: Archive, result: Path, target: str, channel: str, start: tuple[int, int, int], reason: str
) -> None:
    with pytest.raises(ArchiveError, match=reason):
        BossArchive().push(target, channel, result, start)
    assert archive.places["out", "results"].channels == {}


def test_result_with_channels_is_refused(archive: Archive) -> None:
    with pytest.raises(ArchiveError, match="has the axes czyx; what is pushed has zyx"):
        BossArchive().push("out/results", "r", open_raw("boss://col/exp?channel=PSD95,Synapsin"), START)


def test_check_without_channels_leaves_no_trace(archive: Archive) -> None:
    BossArchive().check_pushing("out/results")
    assert archive.places["out", "results"].channels == {}
    with BossArchive(token="reader") as reader, pytest.raises(TokenError, match="does not allow this") as caught:
        reader.check_pushing("out/results")
    assert caught.value.code == "forbidden"
    with pytest.raises(UnknownVolumeError, match="out/none"):
        BossArchive().check_pushing("out/none")
    with BossArchive(token="unknown") as unknown, pytest.raises(TokenError, match="wrong or has expired"):
        unknown.check_pushing("out/results")


def test_check_with_channels_makes_them_and_writes_what_is_there(archive: Archive) -> None:
    archive.add_channel("out/results/old", np.full((40, 80, 120), 255, np.uint8))
    BossArchive().check_pushing("out/results", ["old", "new"], START, (23, 35, 60))
    assert held(archive, "old").all()
    assert not held(archive, "new").any()
    assert archive.counts()["POST cutout"] == archive.counts()["PUT cutout"] == 1
    archive.fail("403", match="PUT /v1/cutout/to_black")
    with pytest.raises(TokenError, match="does not allow this"):
        BossArchive().check_pushing("out/results", ["new"])
    with pytest.raises(ArchiveError, match="z range 3,99 does not lie inside out/results"):
        BossArchive().check_pushing("out/results", ["other"], START, (99, 35, 60))
    assert "other" not in archive.places["out", "results"].channels


@pytest.mark.parametrize("at_once", [1, 3])
def test_blocks_at_a_time_are_a_setting(
    archive: Archive, result: Path, set_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    asked: list[int] = []

    class Watched(ThreadPoolExecutor):
        def __init__(self, workers: int, **options: Any) -> None:
            asked.append(workers)
            super().__init__(workers, **options)

    set_up(BOSS_PUSH_REQUESTS=at_once)
    monkeypatch.setattr("pipeline.boss.push.ThreadPoolExecutor", Watched)
    BossArchive().push("out/results", "r", result, START)
    assert asked == [at_once]
    np.testing.assert_array_equal(held(archive), expected(result))
