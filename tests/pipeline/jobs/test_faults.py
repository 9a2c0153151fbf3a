"""What errors mean for a job."""

from __future__ import annotations

import errno

import pytest
from distributed.comm import CommClosedError

from pipeline import errors
from pipeline.jobs.faults import LONGEST_REASON, explain, judge


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (errors.TransientArchiveError("no answer"), "passes"),
        (errors.TokenError("expired", "bad_token"), "token"),
        (errors.UnknownVolumeError("no such channel"), "stays"),
        (errors.ClusterError("the scheduler went away"), "passes"),
        (errors.ClusterError("other versions", "versions"), "stays"),
        (errors.ClusterError("not installed there", "pipeline"), "stays"),
        (errors.WriteError("the disk is full"), "stays"),
        (errors.StoreError("another run writes it", "locked"), "passes"),
        (errors.StoreError("it is another output"), "stays"),
        (errors.ReadError("damaged"), "stays"),
        (errors.ChannelError("no PSD"), "stays"),
        (CommClosedError("the worker is gone"), "passes"),
        (ConnectionResetError(), "passes"),
        (TimeoutError(), "passes"),
        (MemoryError(), "stays"),
        (OSError(errno.ENOSPC, "No space left on device"), "stays"),
        (ZeroDivisionError(), "stays"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_another_attempt_is_made_where_it_can_help(error: Exception, meaning: str) -> None:
    assert judge(error) == meaning


def test_reasons_are_sentences_for_people() -> None:
    assert explain(errors.ReadError("chunk 3 is damaged", "read")) == "chunk 3 is damaged"
    assert "memory ran out" in explain(MemoryError())
    assert explain(OSError(errno.EACCES, "Permission denied", "/x")) == "/x: Permission denied"
    assert explain(KeyError("a")) == "this should not happen: KeyError: 'a'"
    assert len(explain(ValueError("x" * 10_000))) == LONGEST_REASON
