"""What came of a job over HTTP: files, pictures, zarr for viewers, links to share; and what cannot be had so."""

from __future__ import annotations

import io
import json
import os
import re
import time
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.jobs import links
from pipeline.jobs.job import Job
from tests.web.job_desk import JSON, PAGE, Desk, opening
from tests.web.old_boxes import problem_of

PLAIN = "detections.zarr labels 0 c zarr.json etc passwd table.csv link way.zarr pipe"
BENT = ".. . %2e%2e %2f .hidden ..%2f..%2fetc%2fpasswd %00 \\.."
PARTS = st.sampled_from(PLAIN.split(" ") + BENT.split(" "))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with opening(tmp_path_factory.mktemp("desk")) as found:
        yield found


@pytest.fixture(scope="module")
def job(desk: Desk) -> Job:
    return desk.finish()


@pytest.fixture(scope="module")
def place(job: Job) -> str:
    return f"/jobs/{job.id}"


def test_page_shows_results_and_where_they_were_pushed(desk: Desk, job: Job, place: str) -> None:
    page = desk.ask(place).text
    assert "<b>2</b> detections" in page
    for name in ("report.html", "table.csv", "provenance.json"):
        assert f'href="{place}/results/{name}"' in page
    assert f"collman_nomads/nomads_predictions/{job.channel}_All" in page
    assert f'src="{place}/picture.png"' in page


def test_result_link_is_known_before_the_job_has_begun(desk: Desk) -> None:
    waiting = desk.make(z_range="1,2")
    problem_of(desk.ask(f"/jobs/{waiting.id}/results/table.csv"), 409)
    assert "waits for its turn" in desk.ask(f"/jobs/{waiting.id}").text
    desk.store.cancel(waiting.id)


def test_files_are_given_out_as_what_they_are(desk: Desk, job: Job, place: str) -> None:
    table = desk.ask(f"{place}/results/table.csv")
    assert table.body == (job.folder / "table.csv").read_bytes()
    assert table.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert f'filename="{job.key}-table.csv"' in table.headers["Content-Disposition"]
    assert table.headers["X-Content-Type-Options"] == "nosniff"
    etag = {"If-None-Match": table.headers["ETag"]}
    assert desk.ask(f"{place}/results/table.csv", headers=etag).status == 304
    part = desk.ask(f"{place}/results/table.csv", headers={"Range": "bytes=3-5"})
    assert (part.status, part.body) == (206, table.body[3:6])
    assert desk.ask(f"{place}/results/table.csv", method="HEAD").body == b""


def test_report_runs_nothing_but_its_own_script(desk: Desk, place: str) -> None:
    report = desk.ask(f"{place}/results/report.html")
    policy = report.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", policy)
    assert "unsafe-inline' 'sha" not in policy
    assert "allow-same-origin" not in policy


def test_zarr_libraries_read_the_results(desk: Desk, job: Job, place: str) -> None:
    for name in ("detections.zarr/0", "detections.zarr/labels/objects/0", "data.zarr/0"):
        there = zarr.open_array(f"{desk.url}{place}/results/{name}", mode="r")
        assert np.array_equal(there[...], zarr.open_array(job.folder / name, mode="r")[...])


def test_picture_shows_the_plane_where_most_is(desk: Desk, place: str) -> None:
    reply = desk.ask(f"{place}/picture.png")
    picture = np.asarray(Image.open(io.BytesIO(reply.body)))
    assert picture.shape == (20, 24, 3)
    coloured = picture.max(axis=2) != picture.min(axis=2)
    assert coloured[3:7, 4:9].all()
    assert coloured[10:15, 12:17].all()
    assert not coloured[0].any()


def test_neuroglancer_is_led_to_the_results(desk: Desk, place: str) -> None:
    found = re.search(r'id="viewer" href="([^"]+)"', desk.ask(place).text)
    assert found is not None
    state = json.loads(unquote(found[1].partition("#!")[2]))
    assert [layer["name"] for layer in state["layers"]] == ["PSD95", "synapsin", "detections"]
    for layer in state["layers"]:
        url = layer["source"]["url"].removesuffix("|zarr3:")
        assert desk.ask(urlsplit(url).path + "zarr.json").status == 200
    assert state["dimensions"]["z"] == [pytest.approx(5e-08), "m"]


# ---- what cannot be had


@pytest.fixture(scope="module")
def traps(job: Job, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Links out of the results, to a file and to a folder, and a pipe."""
    secret = tmp_path_factory.mktemp("outside") / "secret.csv"
    secret.write_text("root: a secret")
    (job.folder / "link").symlink_to(secret)
    (job.folder / "link.csv").symlink_to(secret)
    (job.folder / "way.zarr").symlink_to(secret.parent)
    (job.folder / ".hidden").write_text("root: hidden")
    os.mkfifo(job.folder / "pipe")


@pytest.mark.parametrize(
    "name",
    [
        *("link", "link.csv", "way.zarr/secret.csv", "pipe", ".hidden", "detections.zarr", "", "../jobs.sqlite3"),
        *("%2e%2e/jobs.sqlite3", "..%2fjobs.sqlite3", "detections.zarr/../table.csv", "/etc/passwd", "table.csv/x"),
        *("table.csv%00", "a/" * 40 + "b", "t%C3%A4ble.csv", "a" * 300),
    ],
)
def test_nothing_outside_of_the_results_is_given_out(desk: Desk, place: str, traps: None, name: str) -> None:
    reply = desk.ask(f"{place}/results/{name}")
    assert reply.status in (400, 404, 308), reply.text
    assert "root:" not in reply.text


def test_traps_are_not_listed(desk: Desk, place: str, traps: None) -> None:
    listed = desk.ask("/api/v1" + place).document["files"]
    names = {name.rpartition("/")[2] for name in listed}
    assert {"table.csv", "report.html", "detections.zarr"} <= names
    assert not names & {"link", "link.csv", "way.zarr", ".hidden", "pipe"}


@given(parts=st.lists(PARTS, max_size=6))
def test_no_path_leads_out(desk: Desk, place: str, traps: None, parts: list[str]) -> None:
    reply = desk.ask(f"{place}/results/{'/'.join(parts)}")
    assert reply.status in (200, 308, 400, 404)
    assert b"root:" not in reply.body


# ---- sharing


def shared(desk: Desk, place: str) -> str:
    """Path of a signed link."""
    url: str = desk.post(f"/api/v1{place}/share").document["url"]
    assert url.startswith(f"{desk.url}/shared/")
    return urlsplit(url).path


def test_a_signed_link_shows_the_same_without_anything_to_change(desk: Desk, place: str) -> None:
    link = shared(desk, place)
    page = desk.ask(link)
    assert page.status == 200
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "<b>2</b> detections" in page.text
    for word in ("<form", "ada", "Log</h2>", "…@"):
        assert word not in page.text
    assert desk.ask(f"{link}results/table.csv").status == 200
    assert desk.ask(f"{link}picture.png").status == 200
    assert desk.ask(f"{link}results/detections.zarr/zarr.json").status == 200
    assert f"{link.rstrip('/')}/results/report.html" in page.text
    assert json.dumps(link.rstrip("/"))[1:-1] in unquote(page.text)


def test_a_link_opens_no_other_job_and_ends(desk: Desk, job: Job, place: str) -> None:
    key = shared(desk, place).split("/")[2]
    other = desk.make(z_range="2,3")
    problem_of(desk.ask(f"/shared/{key.replace(job.id, other.id)}/"), 404)
    problem_of(desk.ask(f"/shared/{key[:-1]}/results/table.csv"), 404)
    name = key.rsplit(".", 3)[1]
    problem_of(desk.ask(f"/shared/{links.sign(job.id, name, int(time.time()) - 5)}/"), 410)
    problem_of(desk.ask(f"/shared/{links.sign('no-such-job', name, int(time.time()) + 5)}/"), 404)
    desk.store.cancel(other.id)


def test_links_are_listed_and_withdrawn_one_by_one(desk: Desk, place: str) -> None:
    first, second = shared(desk, place), shared(desk, place)
    found = desk.ask(f"/api/v1{place}/links").document["links"]
    (name,) = [link["name"] for link in found if urlsplit(link["url"]).path == first]
    assert desk.ask(first).status == 200
    left = desk.ask(f"/api/v1{place}/links/{name}", method="DELETE").document["links"]
    assert {link["name"]: link["state"] for link in left}[name] == "withdrawn"
    for below in ("", "results/table.csv", "picture.png"):
        assert "withdrawn" in problem_of(desk.ask(f"{first}{below}"), 410)["detail"]
    assert desk.ask(second).status == 200
    problem_of(desk.ask(f"/api/v1{place}/links/0123456789ab", method="DELETE"), 404)


def test_page_makes_links_and_withdraws_them(desk: Desk, place: str) -> None:
    before = desk.ask(f"/api/v1{place}/links").document["links"]
    assert desk.ask(f"{place}/links", method="POST", headers=PAGE, body=b"").status == 303
    made = desk.ask(f"/api/v1{place}/links").document["links"]
    (link,) = [link for link in made if link not in before]
    page = desk.ask(place).text
    assert link["url"] in page
    action = f"{place}/links/{link['name']}/withdraw"
    assert action in page
    assert desk.ask(action, method="POST", headers=PAGE, body=b"").status == 303
    assert link["url"] not in desk.ask(place).text
    problem_of(desk.ask(urlsplit(link["url"]).path), 410)
    evil = {**PAGE, "Origin": "https://evil.example"}
    assert desk.ask(f"{place}/links", method="POST", headers=evil, body=b"").status == 403


def test_results_are_public_only_if_asked(desk: Desk, job: Job, place: str) -> None:
    problem_of(desk.ask(f"/shared/{job.id}/"), 404)
    assert desk.ask(f"{place}/share", method="POST", headers=PAGE, body=b"public=true").status == 303
    assert desk.ask(f"/shared/{job.id}/").status == 200
    assert desk.ask(f"/shared/{job.id}/results/table.csv").status == 200
    assert "Make it private again" in desk.ask(place).text
    assert desk.post(f"/api/v1{place}/share", {"public": False}).document["public"] is False
    problem_of(desk.ask(f"/shared/{job.id}/results/table.csv"), 404)
    problem_of(desk.post(f"/api/v1{place}/share", {"public": "perhaps"}), 400)
    problem_of(desk.post(f"/api/v1{place}/share", {"public": True}, {**JSON, "Origin": "https://evil.example"}), 403)
