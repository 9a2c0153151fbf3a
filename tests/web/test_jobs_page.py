"""The form, the list and the page of a job, and the original's /submit."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from pipeline.analyses import get, names
from tests.servers import Reply
from tests.web.job_desk import FORM, PAGE, TOKEN, Desk, fields, opening
from tests.web.old_boxes import problem_of


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with opening(tmp_path_factory.mktemp("desk")) as found:
        yield found


def send_page(desk: Desk, **changes: str) -> Reply:
    """Send the form as a browser does."""
    return desk.ask("/submit", method="POST", headers=PAGE, body=urlencode(fields(**changes)).encode())


def value_of(page: str, name: str) -> str | None:
    """What a field of a page is filled with."""
    found = re.search(rf'<input id="[^"]*" name="{name}"[^>]* value="([^"]*)"', page)
    return html.unescape(found[1]) if found else None


def error_of(page: str, name: str) -> str | None:
    """What a page says beside a field."""
    found = re.search(rf'<p class="error" id="{name}-error">([^<]+)</p>', page)
    return html.unescape(found[1]) if found else None


def test_index_leads_to_the_form(desk: Desk) -> None:
    assert 'href="/jobs"' in desk.ask("/").text


@pytest.mark.parametrize("path", ["/jobs", "/submit"])
def test_form_has_the_original_fields(desk: Desk, path: str) -> None:
    page = desk.ask(path)
    assert page.status == 200
    for name in fields():
        assert f'name="{name}"' in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_form_is_made_from_the_registry(desk: Desk) -> None:
    page = desk.ask("/jobs").text
    for name in names():
        assert f'<option value="{name}">' in page
        for parameter in get(name).parameters:
            assert (f'name="{name}.{parameter.name}"' in page) == (not parameter.server_only)


def test_a_script_posts_and_is_led_to_the_job(desk: Desk) -> None:
    reply = desk.submit(exp="M247514_Rorb_1", z_range="0,5")
    assert reply.status == 303
    place = reply.headers["Location"]
    assert place.startswith("/jobs/nomads-unsupervised_collman_M247514_Rorb_1_z_0_5_y_0_20_x_0_24-")
    assert desk.ask(place).status == 200
    assert desk.ask("/api/v1" + place).document["ranges"] == {"z": [0, 5], "y": [0, 20], "x": [0, 24]}


@pytest.mark.parametrize("name", sorted(fields()))
def test_what_is_missing_is_refused_by_name(desk: Desk, name: str) -> None:
    before = desk.store.list()
    given = {key: value for key, value in fields().items() if key != name}
    refused = desk.ask("/submit", method="POST", headers=FORM, body=urlencode(given).encode())
    assert set(problem_of(refused, 400)["errors"]) == {name}
    assert desk.store.list() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("z_range", "7"),
        ("z_range", "5,10,20"),
        ("z_range", "3,3"),
        ("z_range", "-1,3"),
        ("z_range", "0,7"),
        ("y_range", "0;20"),
        ("x_range", "0,٣"),
        ("pipeline", "Please choose"),
        ("pipeline", "../nomads"),
        ("col", "no_such"),
        ("exp", "a b"),
        ("email", "ada@lab.example, bob@lab.example"),
        ("email", "ada@lab.example\r\nBcc: bob@lab.example"),
        ("token", "no such token"),
        ("token", "unknowntoken"),
        ("nomads-unsupervised.min_size", "-3"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(desk: Desk, name: str, value: str) -> None:
    before = desk.store.list()
    page = send_page(desk, **{name: value})
    assert page.status == 400
    field = {"col": ("col", "exp")}.get(name, (name,))  # the archive knows collection and experiment as one
    assert any(error_of(page.text, each.replace(".", "-")) for each in field), page.text
    assert desk.store.list() == before


def test_the_form_stays_filled_but_for_the_token(desk: Desk) -> None:
    page = send_page(desk, z_range='9,"1', email="a@b", **{"nomads-unsupervised.min_size": "77"})
    assert page.status == 400
    for name, value in {**fields(), "z_range": '9,"1', "email": "a@b"}.items():
        if name not in ("token", "pipeline"):
            assert value_of(page.text, name) == value
    assert value_of(page.text, r"nomads-unsupervised\.min_size") == "77"
    assert '<option value="nomads-unsupervised" selected>' in page.text
    assert TOKEN not in page.text


def test_a_channel_that_is_missing_is_named(desk: Desk) -> None:
    page = send_page(desk, exp="other")
    assert page.status == 400
    assert "DAPI" in str(error_of(page.text, "exp"))


def test_rights_to_push_are_looked_at_first(desk: Desk) -> None:
    page = send_page(desk, token="readeralone")
    assert page.status == 400
    assert error_of(page.text, "token")


def test_what_it_costs_is_told_without_asking_for_it(desk: Desk) -> None:
    before = desk.store.list()
    page = send_page(desk, action="estimate")
    assert page.status == 200
    assert "2,880 in each of 2 channels" in page.text
    assert TOKEN not in page.text
    assert desk.store.list() == before


def test_a_field_that_comes_twice_is_refused(desk: Desk) -> None:
    body = urlencode([*fields().items(), ("z_range", "0,2")]).encode()
    refused = desk.ask("/submit", method="POST", headers=FORM, body=body)
    assert problem_of(refused, 400)["errors"] == {"z_range": "this is given twice"}


def test_a_field_that_is_none_is_refused(desk: Desk) -> None:
    refused = desk.submit(bucket="x")
    assert "bucket" in problem_of(refused, 400)["errors"]
    assert "bucket" in send_page(desk, bucket="x").text


def test_a_page_of_elsewhere_cannot_submit(desk: Desk) -> None:
    before = desk.store.list()
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        body = urlencode(fields(z_range="0,3")).encode()
        problem_of(desk.ask("/submit", method="POST", headers={**FORM, **headers}, body=body), 403)
    assert desk.store.list() == before


def test_an_archive_that_does_not_answer_is_said(desk: Desk) -> None:
    desk.archive.fail("503", "/collection/", times=99)
    try:
        page = send_page(desk, z_range="0,4")
        assert page.status == 503
        assert "Retry-After" in page.headers
        assert 'role="alert"' in page.text
        assert value_of(page.text, "z_range") == "0,4"
        problem_of(desk.submit(z_range="0,4"), 503)
    finally:
        desk.archive.faults.clear()


def test_the_same_request_is_one_job_and_both_are_told(desk: Desk) -> None:
    first = desk.make(y_range="0,19")
    second = desk.make(y_range="0,19", email="bob@lab.example")
    assert first.id == second.id
    assert second.people == ("ada@lab.example", "bob@lab.example")
    page = desk.ask(f"/jobs/{first.id}").text
    assert "b…@lab.example" in page
    assert "bob@lab.example" not in page


def test_a_job_is_cancelled_and_started_again(desk: Desk) -> None:
    job = desk.make(y_range="0,18")
    act = f"/jobs/{job.id}"
    assert desk.ask(f"{act}/cancel", method="POST", headers=PAGE).status == 303
    assert desk.store.get(job.id).state == "cancelled"
    again = desk.ask(f"{act}/cancel", method="POST", headers=PAGE)
    assert again.status == 409
    assert "cancelled already" in again.text
    assert desk.ask(f"{act}/retry", method="POST", headers=PAGE, body=f"token={TOKEN}".encode()).status == 303
    assert desk.store.get(job.id).state == "queued"
    desk.store.cancel(job.id)


def test_a_job_that_needs_its_token_is_given_it(desk: Desk) -> None:
    for other in desk.store.list(("queued",)):
        desk.store.cancel(other.id)
    job = desk.make(y_range="0,17")
    desk.take().wait_for_token("the archive does not know the token any more")
    page = desk.ask(f"/jobs/{job.id}").text
    assert "Give the token again" in page
    assert "does not know the token" in page
    for wrong in ("", "a b", "x\r\ny"):
        body = urlencode({"token": wrong}).encode()
        refused = desk.ask(f"/jobs/{job.id}/retry", method="POST", headers=PAGE, body=body)
        assert refused.status == 400
        assert 'id="token-error">' in refused.text
    body = f"token={TOKEN}".encode()
    assert desk.ask(f"/jobs/{job.id}/retry", method="POST", headers=PAGE, body=body).status == 303
    assert desk.store.get(job.id).state == "queued"


def test_a_server_that_sends_no_mails_says_so(desk: Desk) -> None:
    assert "VOXELFOREST_SMTP_HOST is not set" in desk.ask("/jobs").text
    assert "None are sent" in desk.ask(f"/jobs/{desk.make(y_range='0,15').id}").text


@pytest.mark.parametrize("path", ["/jobs/none", "/jobs/../x", "/jobs/%00", "/jobs/" + "a" * 300, "/jobs/x/results/x"])
def test_what_is_not_there_is_no_error_of_the_server(desk: Desk, path: str) -> None:
    assert desk.ask(path).status in (404, 400)


def test_the_list_shows_jobs_and_escapes(desk: Desk) -> None:
    page = send_page(desk, col="<script>alert(1)</script>")
    assert page.status == 400
    assert "<script>alert" not in page.text
    job = desk.make(y_range="0,16")
    assert f'href="/jobs/{job.id}"' in desk.ask("/jobs").text
