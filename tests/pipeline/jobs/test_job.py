"""What is kept of a job."""

from __future__ import annotations

from pipeline.jobs.job import StageProgress


def test_a_stage_that_has_just_begun_has_done_nothing() -> None:
    begun = StageProgress("find", 7)
    assert (begun.blocks, begun.blocks_done, begun.voxels, begun.voxels_done) == (7, 0, 0, 0)
    assert (begun.bytes, begun.bytes_done, begun.rate, begun.seconds_left, begun.finished) == (0, 0, 0.0, None, False)
