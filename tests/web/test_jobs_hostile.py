"""Forms that nobody means well with: refused with a reason beside the field, nothing made, no line put anywhere.

The short form is part of every run; ``--hypothesis-profile=full`` sends 2,000 forms each way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.jobs.fields import RANGE
from pipeline.jobs.job import Job
from tests.servers import Reply
from tests.web.job_desk import FORM, JSON, PAGE, fields
from tests.web.job_service import JobService

TIMES = 4  # forms for each example of a profile, each way: 100 or 2,000
EVIL = "EVIL-LINE"
TRICKS = [
    f"x\r\n{EVIL}: 1",
    f"x\n{EVIL}",
    f"0,5\r{EVIL}",
    "\x00",
    "a\x00b",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "'; DROP TABLE jobs; --",
    "../../etc/passwd",
    "/etc/passwd",
    "%s%n",
    "\u202e0,5",
    "٠,٥",
    "0,5,6",
    "5",
    "5,0",
    "-3,4",
    "0x0,0x5",
    "1e1,2e1",
    "nan,inf",
    "9" * 400 + ",1",
    "0," + "9" * 4000,
    "x" * 5000,
    "Please choose",
    "pixel-classification ; ls",
    "__proto__",
    "ada@lab.example, bob@lab.example",
    "Ada <ada@lab.example>",
    f"ada@lab.example\r\nBcc: {EVIL}@lab.example",
    f"ada@lab.example%0d%0aBcc: {EVIL}@lab.example",
]
TEXTS = st.one_of(st.sampled_from(TRICKS), st.text(st.characters(exclude_categories=["Cs"]), max_size=60))


@dataclass(frozen=True)
class Target:
    """A service, and what there was of jobs and mails before."""

    service: JobService
    jobs: tuple[Job, ...]
    mails: int


@pytest.fixture(scope="module")
def target(job_service: JobService) -> Target:
    return Target(job_service, job_service.store.list(), len(job_service.box.taken))


def _is_fine(name: str, value: str) -> bool:
    """Whether a value may be taken after all, or reaches the archive."""
    text = value.strip(" ")
    if name.endswith("_range"):
        return RANGE.fullmatch(text) is not None
    if name in ("col", "exp", "token"):
        return re.fullmatch(r"[A-Za-z0-9_.-]+", text) is not None
    if name == "email":
        return re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+\.[^@\s<>,;]+", text) is not None
    return name == "pipeline" and text.startswith(("nomads-", "pixel-"))


@st.composite
def wrong(draw: st.DrawFn) -> dict[str, str | None]:
    """Fields with values that are none; None leaves one out."""
    names = draw(st.lists(st.sampled_from(sorted(fields())), min_size=1, max_size=3, unique=True))
    values = {name: draw(st.one_of(st.none(), TEXTS)) for name in names}
    assume(not any(value is not None and _is_fine(name, value) for name, value in values.items()))
    return values


def _check(target: Target, reply: Reply, values: Mapping[str, str | None]) -> None:
    assert reply.status == 400, (values, reply.text[:500])
    assert b"Traceback" not in reply.body
    assert reply.headers.get(EVIL) is None
    token = values.get("token")
    others = [value for name, value in values.items() if name != "token" and value is not None]
    if token is not None and len(token) > 5 and token not in TRICKS and not any(token in other for other in others):
        assert token not in reply.text
    assert target.service.store.list() == target.jobs
    assert len(target.service.box.taken) == target.mails


def _send(target: Target, values: Mapping[str, str | None], headers: Mapping[str, str]) -> Reply:
    given = {name: value for name, value in {**fields(), **values}.items() if value is not None}
    return target.service.server.ask("/submit", method="POST", headers=headers, body=urlencode(given).encode())


@settings(max_examples=settings().max_examples * TIMES, suppress_health_check=list(HealthCheck), deadline=None)
@given(values=wrong())
def test_a_hostile_form_is_refused_field_by_field(target: Target, values: dict[str, str | None]) -> None:
    reply = _send(target, values, FORM)
    _check(target, reply, values)
    reasons = reply.document["errors"]
    assert set(reasons) == set(values)
    assert all(reasons.values())


@settings(max_examples=settings().max_examples * TIMES, suppress_health_check=list(HealthCheck), deadline=None)
@given(values=wrong())
def test_a_hostile_form_comes_back_with_reasons_beside_fields(target: Target, values: dict[str, str | None]) -> None:
    reply = _send(target, values, PAGE)
    _check(target, reply, values)
    assert set(re.findall(r'<p class="error" id="([a-z_]+)-error">[^<]', reply.text)) == set(values)
    assert "<script>alert" not in reply.text
    assert "<img src=x" not in reply.text


@settings(max_examples=settings().max_examples * TIMES, suppress_health_check=list(HealthCheck), deadline=None)
@given(values=wrong(), odd=st.sampled_from([None, [], {}, [1, 2, 3], 1.5, True]))
def test_a_hostile_document_is_refused(target: Target, values: dict[str, str | None], odd: object) -> None:
    given = {**fields(), **{name: odd if value is None else value for name, value in values.items()}}
    assume(odd not in (True, 1.5) or all(value is not None for value in values.values()))
    body = json.dumps(given).encode()
    reply = target.service.server.ask("/api/v1/jobs", method="POST", headers=JSON, body=body)
    if set(values) == {"email"} and given["email"] is None:
        return  # it may be left out there, and then the volume is what is wrong
    _check(target, reply, values)


@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    body=st.one_of(st.none(), st.binary(max_size=300)),
    kind=st.sampled_from(["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""]),
)
def test_fields_and_bodies_that_are_none(target: Target, name: str, body: bytes | None, kind: str) -> None:
    assume(name not in fields() and name != "action" and not name.startswith(("nomads-", "pixel-")))
    given = urlencode({**fields(), name: "1"}).encode() if body is None else body
    headers = {"Content-Type": FORM["Content-Type"] if body is None else kind}
    _check(target, target.service.server.ask("/submit", method="POST", headers=headers, body=given), {})


def test_no_line_was_put_into_the_log(target: Target) -> None:
    lines = (target.service.folder / "server.log").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line.lstrip().startswith(EVIL)]
    assert target.service.server.ask("/jobs").status == 200
