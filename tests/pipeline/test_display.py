"""Progress as JSON lines, plain lines and a bar."""

from __future__ import annotations

import io
import json
import sys

import pytest

from pipeline.display import Bar, JsonLines, Lines, describe, describe_pace, report
from pipeline.progress import BlockDone, Event, Note, StageFinished, StageStarted

EVENTS: list[Event] = [
    StageStarted("predict", 20, 80_000_000),
    Note("half [way]"),
    BlockDone("predict", 1, 20, 4_000_000, 2e6, 38.0),
    BlockDone("predict", 2, 20, 8_000_000, 2e6, 36.0),
    StageFinished("predict", 20, 80_000_000, 40.0),
]


def test_json_lines_hold_every_event() -> None:
    stream = io.StringIO()
    for event in EVENTS:
        JsonLines(stream)(event)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [type(event).__name__ for event in EVENTS]
    assert lines[2]["rate"] == 2e6
    assert lines[2]["seconds_left"] == 38.0


def test_plain_lines_leave_out_blocks_in_quick_succession() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    for event in EVENTS:
        lines(event)
    assert stream.getvalue().splitlines() == ["predict: 20 blocks", "half [way]", "predict: done in 40.0 s"]


def test_plain_lines_tell_a_block_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.display.LINE_SECONDS", 0.0)
    stream = io.StringIO()
    lines = Lines(stream)
    for event in EVENTS:
        lines(event)
    assert "predict: 2 of 20 blocks, 2.0 million voxels/s, 36 s left" in stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "3.0 blocks/s"), (9.6, "10 s left"), (61.0, "1 min 01 s left"), (7265.0, "2 h 01 min left")],
)
def test_time_left_is_told_in_the_unit_that_matters(seconds: float | None, text: str) -> None:
    assert describe_pace(BlockDone("pyramid", 1, 5, 0, 3.0, seconds)).endswith(text)


def test_every_event_has_a_line() -> None:
    assert all(describe(event) for event in EVENTS)


def test_bar_shows_blocks_and_notes_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        for event in EVENTS:
            bar(event)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "half [way]" in shown.err
    assert "20/20" in shown.err


def test_bar_of_the_volume_before_makes_room(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        for event in (*EVENTS, StageStarted("predict", 7, 0)):
            bar(event)
    last = capsys.readouterr().err.rpartition("half [way]")[2]
    assert "0/7" in last
    assert "20/20" not in last


@pytest.mark.parametrize(("as_json", "first"), [(True, '{"event": "Note"'), (False, "hello")])
def test_report_goes_to_stderr(capsys: pytest.CaptureFixture[str], as_json: bool, first: str) -> None:
    with report(as_json) as progress:
        progress.note("hello")
    assert not sys.stderr.isatty()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(first)
