"""Jobs as people and programs are told of them: on the terminal, as JSON, in Jupyter."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pipeline.jobs.description import describe, describe_list, to_dict
from pipeline.jobs.job import DONE, FAILED, RUNNING, StageProgress
from pipeline.jobs.results import FILES, PLACE
from tests.made_jobs import REQUEST, make_job
from tests.pipeline.test_markup import Reader

FIND = StageProgress("find", 8, 2, 800, 200, 800, 200, 10.0, 60.0)
LABEL = StageProgress("label", 0, finished=True)


def rows_of(job: Any) -> dict[str, str]:
    section, *_ = describe(job)
    return {row[0]: row[1] for row in section.rows}


def test_cost_is_what_is_read_and_how_long_it_took() -> None:
    rows = rows_of(make_job(voxel_bytes=2))
    assert rows["cost"] == "55,296 voxels, 1 channel, 108.0 KiB to read, 1 min 5 s"
    assert rows_of(make_job(RUNNING, ended=None, updated=30.0))["cost"].endswith(", 30 s so far")
    assert rows_of(make_job(RUNNING, started=None, ended=None))["cost"].endswith("to read")


def test_reason_stands_beside_the_state() -> None:
    assert rows_of(make_job(FAILED))["state"] == "failed: the archive does not answer"
    assert "objects" not in rows_of(make_job(FAILED))
    assert rows_of(make_job(DONE))["objects"] == "1234"


def test_stages_are_told_with_what_is_left() -> None:
    _, stages = describe(make_job(RUNNING, stages=(FIND, LABEL)))
    assert stages.rows == (("find", "2 of 8", "200 B of 800 B", "60 s"), ("label", "0 of 0", "", ""))


def test_document_is_json_and_names_nobody() -> None:
    text = json.dumps(to_dict(make_job(stages=(FIND,))))
    assert "ada" not in text
    assert json.loads(text)["stages"][0]["blocks_done"] == 2


def test_results_are_where_they_lie() -> None:
    job = make_job()
    assert to_dict(job)["folder"] == "/nowhere"
    kept = replace(job, results={**job.results, PLACE: "s3://bucket/x", FILES: {}})
    assert to_dict(kept)["folder"] == rows_of(kept)["results"] == "s3://bucket/x"
    assert PLACE not in to_dict(kept)


def test_list_has_a_row_for_each() -> None:
    (section,) = describe_list([make_job(), make_job(FAILED)])
    assert [row[1] for row in section.rows] == ["done", "failed"]


@pytest.mark.parametrize("state", [RUNNING, DONE, FAILED])
def test_jupyter_shows_state_cost_and_a_bar_for_each_stage(state: str) -> None:
    job = make_job(state, stages=(FIND, LABEL))
    shown = job._repr_html_()
    texts = Reader(shown).texts
    assert {"state", "cost", "find", "label", job.id} <= set(texts)
    assert any(text.startswith(state) for text in texts)
    assert '<progress max="8" value="2">' in shown
    assert '<progress max="1" value="1">' in shown


def test_nothing_of_a_request_becomes_markup() -> None:
    hostile = "<script>alert('1')</script>"
    request = replace(REQUEST, experiment=hostile, parameters={hostile: hostile})
    job = make_job(FAILED, request=request, reason=hostile, stages=(replace(FIND, name=hostile),))
    assert hostile in " ".join(Reader(job._repr_html_()).texts)
