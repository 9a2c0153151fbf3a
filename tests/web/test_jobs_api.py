"""Jobs for scripts: asked for, listed, cancelled, started again, followed."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.jobs.job import StageProgress
from tests.servers import SMALL, Server, serving
from tests.web.job_desk import JSON, KEY, TOKEN, Desk, fields, opening
from tests.web.old_boxes import problem_of


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with opening(tmp_path_factory.mktemp("desk"), EVENT_STREAMS="1") as found:
        yield found


@pytest.fixture(autouse=True)
def _quiet(desk: Desk) -> None:
    """No job waits."""
    for job in desk.store.list(("queued", "needs token")):
        desk.store.cancel(job.id)


def submit(desk: Desk, **changes: Any) -> Any:
    reply = desk.post("/api/v1/jobs", fields(**changes))
    assert reply.status == 202, reply.text
    assert reply.headers["Location"] == reply.document["urls"]["self"]
    return reply.document


def test_a_job_is_asked_for_and_shown(desk: Desk) -> None:
    made = submit(desk, z_range=[0, 5], min_size=40)
    assert made["state"] == "queued"
    assert made["ranges"]["z"] == [0, 5]
    assert made["parameters"]["min_size"] == 40
    assert made["told"] == ["a…@lab.example"]
    shown = desk.ask(made["urls"]["self"])
    assert shown.document == made
    assert TOKEN not in shown.text
    assert "ada@" not in shown.text


def test_email_may_be_left_out_but_the_token_not(desk: Desk) -> None:
    given = {name: value for name, value in fields(z_range="0,4").items() if name != "email"}
    assert desk.post("/api/v1/jobs", given).status == 202
    del given["token"]
    assert set(problem_of(desk.post("/api/v1/jobs", given), 400)["errors"]) == {"token"}


def test_jobs_are_listed_newest_first(desk: Desk) -> None:
    ids = [submit(desk, z_range=[0, n])["id"] for n in (2, 3)]
    listed = [job["id"] for job in desk.ask("/api/v1/jobs").document["jobs"]]
    assert listed[:2] == ids[::-1]
    assert len(desk.ask("/api/v1/jobs?limit=1").document["jobs"]) == 1
    assert desk.ask("/api/v1/jobs?state=done").document["jobs"] == []
    for query in ("state=lost", "limit=0", "limit=5000", "before=nan", "colour=red", "limit=1&limit=2"):
        problem_of(desk.ask(f"/api/v1/jobs?{query}"), 400)


@pytest.mark.parametrize("way", ["POST", "DELETE"])
def test_a_job_is_cancelled_once(desk: Desk, way: str) -> None:
    job = submit(desk, z_range=[1, 3])
    if job["state"] != "queued":
        desk.post(job["urls"]["self"] + "/retry", {"token": TOKEN})
    target = job["urls"]["self"] + ("/cancel" if way == "POST" else "")
    assert desk.ask(target, method=way).document["state"] == "cancelled"
    problem_of(desk.ask(target, method=way), 409)


def test_a_job_is_started_again(desk: Desk) -> None:
    job = submit(desk, z_range=[1, 4])
    place = job["urls"]["self"]
    desk.ask(place, method="DELETE")
    waits = desk.post(f"{place}/retry")
    assert waits.document["state"] == "needs token"  # that of the form was erased
    assert set(problem_of(desk.post(f"{place}/retry", {}), 400)["errors"]) == {"token"}
    problem_of(desk.post(f"{place}/retry", {"token": TOKEN, "col": "x"}), 400)
    assert desk.post(f"{place}/retry", {"token": TOKEN}).document["state"] == "queued"
    problem_of(desk.post(f"{place}/retry", {"token": TOKEN}), 409)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'"x"',
        b'{"token": {"a": 1}}',
        b'{"z_range": [1]}',
        b'{"z_range": [0, 1e400]}',
        b"\xff",
    ],
)
def test_bodies_that_are_none_are_refused_without_repeating_them(desk: Desk, body: bytes) -> None:
    before = desk.store.list()
    problem_of(desk.ask("/api/v1/jobs", method="POST", headers=JSON, body=body), 400)
    assert desk.store.list() == before


JUNK = {
    "object": f'{{"secret": "{TOKEN}"}}',
    "list": f'["{TOKEN}"]',
    "long": "9" * 5000,
    "lines": f'"{TOKEN}\\n1"',
    "yes": "true",
}


@pytest.mark.parametrize("name", ["token", "z_range", "email", "pipeline", "nonsense"])
@pytest.mark.parametrize("junk", JUNK)
def test_no_answer_repeats_a_token(desk: Desk, name: str, junk: str) -> None:
    document = json.dumps({**fields(), name: "JUNK"}).replace('"JUNK"', JUNK[junk])
    refused = desk.ask("/api/v1/jobs", method="POST", headers=JSON, body=document.encode())
    assert refused.status == 400, refused.text
    if junk != "long":
        assert name in refused.document["errors"]
    if name in ("token", "email"):
        assert TOKEN not in refused.text


def test_what_it_costs(desk: Desk) -> None:
    cost = desk.post("/api/v1/estimates", fields())
    assert cost.document["voxels"] == 6 * 20 * 24
    assert cost.document["bytes"] == 2 * 6 * 20 * 24
    assert cost.document["seconds"] > 0
    problem_of(desk.post("/api/v1/estimates", fields(z_range="0,99")), 400)


def test_foreign_pages_change_nothing(desk: Desk) -> None:
    job = submit(desk, z_range=[2, 4])
    elsewhere = {**JSON, "Origin": "https://evil.example"}
    for target in ("/api/v1/jobs", f"{job['urls']['self']}/cancel", f"{job['urls']['self']}/share"):
        problem_of(desk.post(target, fields(), headers=elsewhere), 403)
    problem_of(desk.ask(job["urls"]["self"], method="DELETE", headers=elsewhere), 403)
    assert desk.ask(job["urls"]["self"]).document["state"] == "queued"


# ---- events


def read_events(desk: Desk, target: str, last: int | str | None = None) -> list[tuple[str, Any]]:
    """All events of a stream that ends."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    while (reply := desk.ask(target, headers=headers)).status == 503:  # the one before has its place for a moment yet
        time.sleep(0.05)
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    found = []
    for block in reply.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def test_events_tell_a_job_from_begin_to_end(desk: Desk) -> None:
    job = submit(desk, z_range=[2, 5])
    claim = desk.take()
    claim.show(StageProgress("statistics", 4, 2, 100, 50), 1.0)
    claim.tell("note", {"text": "a line\nof two"})
    claim.fail("it broke")
    events = read_events(desk, job["urls"]["events"])
    states = [event["state"] for kind, event in events if kind == "state"]
    assert states == ["queued", "running", "failed"]
    assert [event["blocks_done"] for kind, event in events if kind == "stage"] == [2]
    assert [event["text"] for kind, event in events if kind == "note"] == ["a line\nof two"]
    assert events[-1] == ("end", {"state": "failed"})
    numbers = [event["number"] for kind, event in events if kind != "end"]
    assert numbers == sorted(numbers)
    assert read_events(desk, job["urls"]["events"], numbers[-1]) == [("end", {"state": "failed"})]


def test_streams_are_few_and_given_back(desk: Desk) -> None:
    job = submit(desk, z_range=[3, 5])
    connection = http.client.HTTPConnection(*desk.address, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", job["urls"]["events"])
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.readline() == b"retry: 2000\n"
        refused = desk.ask(job["urls"]["events"])
        assert problem_of(refused, 503)["code"] == "streams"
        assert refused.headers["Retry-After"]
        desk.store.cancel(job["id"])
        assert b"event: end" in answer.read()
    assert read_events(desk, job["urls"]["events"])[-1][0] == "end"


@pytest.mark.parametrize("last", ["-1", "x", "9" * 30, "１"])
def test_junk_for_the_last_event_begins_at_the_first(desk: Desk, last: str) -> None:
    job = submit(desk, z_range=[3, 6])
    desk.store.cancel(job["id"])
    events = read_events(desk, job["urls"]["events"], last.encode().decode("latin-1"))
    assert events[0][0] == "state"


# ---- a real server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a token and nothing but jobs."""
    folder: Path = tmp_path_factory.mktemp("guarded")
    secret = {"VOXELFOREST_TOKEN": "the server's own", "VOXELFOREST_SECRET_KEY": KEY}
    with serving(folder=folder, environment={**SMALL, **secret}) as server:
        yield server


def test_a_server_of_jobs_alone(guarded: Server) -> None:
    shown = {"Authorization": "Bearer the server's own"}
    assert guarded.ask("/", headers=shown).headers["Location"] == "/jobs"
    assert guarded.ask("/jobs", headers=shown).status == 200
    problem_of(guarded.ask("/raw/png/roi?extents_min=0_0&extents_max=1_1", headers=shown), 404)


def test_without_the_token_there_are_no_jobs_to_see(guarded: Server) -> None:
    for target in ("/jobs", "/submit", "/api/v1/jobs", "/jobs/x/results/table.csv", "/jobs/x/picture.png"):
        problem_of(guarded.ask(target), 401)
    problem_of(guarded.ask("/shared/x/"), 404)
    problem_of(guarded.ask("/shared/x/", method="POST", body=b""), 401)
    assert guarded.ask("/static/theme.css").status == 200
