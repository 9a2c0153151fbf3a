"""The whole service, driven by a browser: from the form to the mail, the results and the channel in the archive."""

from __future__ import annotations

import contextlib
import os
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np
import psutil
import pytest
import zarr
from playwright.sync_api import Browser, Page

from tests.mailbox import PASSWORD, SENDER
from tests.web.browser import browsers, open_page, wait_until
from tests.web.job_desk import KEY, TARGET, TOKEN
from tests.web.job_service import CONSTANT, SOURCE, JobService

RANGES = {"z_range": "10,34", "y_range": "20, 100", "x_range": " 30 ,126 "}
SECONDS = 120.0
LATER = "TokenThatComesLater99"
FIELDS = {"token": TOKEN, "pipeline": "nomads-unsupervised", "email": "ada@lab.example", **RANGES}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers() as launch, launch() as found:
        yield found


def fields(source: str, **changes: str) -> dict[str, str]:
    collection, experiment = source.split("/")
    return {**FIELDS, "col": collection, "exp": experiment, **changes}


def fill(page: Page, given: dict[str, str]) -> None:
    page.locator("#pipeline").select_option(given["pipeline"])
    for name, value in given.items():
        if name != "pipeline":
            page.locator(f"#{name}").fill(value)


def link_in(job_service: JobService, number: int) -> str:
    """The link of a mail."""
    body = job_service.box.messages[number].get_body(("plain",))
    assert body is not None
    (link,) = re.findall(r"^http\S+", body.get_content(), re.MULTILINE)
    return str(link)


def test_from_the_form_to_the_pushed_channel(job_service: JobService, browser: Browser) -> None:
    with open_page(browser, f"{job_service.server.url}/jobs") as (page, watch):
        fill(page, fields(SOURCE, z_range="0,34"))
        page.locator("button.main").click()
        assert "10 <= start" in page.locator("#z_range-error").inner_text()
        assert page.locator("#x_range").input_value() == RANGES["x_range"]
        assert page.locator("#token").input_value() == ""
        page.wait_for_load_state("load")  # its script listens now
        fill(page, fields(SOURCE))
        page.locator("#token").blur()
        wait_until(page, "document.getElementById('cost').textContent.includes('184,320 in each of 2 channels')")
        page.locator("button.main").click()
        page.wait_for_url("**/jobs/nomads-unsupervised_*")
        place = urlsplit(page.url).path
        page.locator("[data-state=running]").wait_for(timeout=SECONDS * 1000)
        page.locator("[data-state=done]").wait_for(timeout=SECONDS * 1000)  # by itself
        assert [error for error in watch.errors if "status of 400" not in error] == []
    job = job_service.wait(place, "done")
    assert job["objects"] > 5
    (channel,) = job["pushed"]
    assert channel == job["key"] + "_All"
    local = zarr.open_array(job_service.store.get(job["id"]).folder / "detections.zarr" / "0", mode="r")[...]
    there = job_service.archive.places[tuple(TARGET.split("/"))].channels[channel]  # type: ignore[index]
    assert there.data is not None
    assert np.array_equal(there.data, local)
    assert set(np.unique(local)) == {0, 255}


def test_the_mail_leads_to_the_results(job_service: JobService, browser: Browser) -> None:
    (message,) = job_service.box.wait(1)
    assert job_service.box.encrypted[0]
    assert (message["From"], message["To"]) == (SENDER, "ada@lab.example")
    assert str(message["Subject"]).endswith("done")
    with open_page(browser, link_in(job_service, 0)) as (page, watch):
        assert int(page.locator(".count b").inner_text()) > 5
        assert page.locator("form").count() == 0
        wait_until(page, "document.querySelector('.picture img').naturalWidth > 0")
        page.locator("a.button", has_text="Report").click()
        page.wait_for_load_state()
        assert page.locator("h1").count() == 1
        assert page.locator("html.scripted").count() == 1  # its own script runs, under the policy it is sent with
        page.go_back()
        page.locator("#viewer").click()
        page.locator(".neuroglancer-rendered-data-panel").first.wait_for()
        wait_until(page, "viewer.isReady()", SECONDS)
        names = page.evaluate("viewer.layerManager.managedLayers.map((each) => each.name)")
        assert names == ["PSD", "synapsin", "detections"]
        assert page.evaluate("viewer.layerManager.managedLayers.every((e) => !e.layer.messages?.messages?.length)")
        watch.check(job_service.server.url)


def test_a_link_is_made_and_withdrawn_on_the_page(job_service: JobService, browser: Browser) -> None:
    server = job_service.server
    with open_page(browser, f"{server.url}/jobs/{job_service.store.list()[0].id}") as (page, watch):
        assert page.locator("[data-link=open]", has_text="a…@lab.example got this link by mail").count() == 1
        page.locator("#make-link").click()
        made = page.locator("[data-link=open]", has_not_text="by mail")
        place = urlsplit(made.locator("input").input_value()).path
        assert server.ask(place).status == 200
        made.locator("button", has_text="Withdraw").click()
        page.locator("[data-link=withdrawn]").wait_for()
        assert server.ask(place).status == 410
        watch.check(server.url)


def test_a_plain_script_asks_for_the_same_and_is_told_too(job_service: JobService) -> None:
    body = urlencode(fields(SOURCE, email="bob@lab.example")).encode()
    with urllib.request.urlopen(f"{job_service.server.url}/submit", body, timeout=60) as answer:
        assert answer.status == 200
        assert urlsplit(answer.url).path == f"/jobs/{job_service.store.list()[0].id}"
    assert len(job_service.store.list()) == 1
    assert job_service.box.wait(2)[1]["To"] == "bob@lab.example"


def test_a_job_that_fails_says_why_and_a_mail_that_cannot_go_out_is_shown(job_service: JobService) -> None:
    job_service.box.answers["RCPT"] = "451 come again"
    reply = job_service.submit(fields(CONSTANT))
    place = reply.headers["Location"]
    job = job_service.wait(place, "failed", "done")
    assert job["state"] == "failed"
    assert "PSD has the value 7" in job["reason"]
    while "come again" not in job_service.server.ask(place).text:
        time.sleep(0.1)
    (mail,) = job_service.server.ask(f"/api/v1{place}/mails").document["mails"]
    assert (mail["state"], mail["to"]) == ("waiting", "a…@lab.example")
    job_service.box.answers.clear()
    message = job_service.box.wait(3)[2]
    body = message.get_body(("plain",))
    assert body is not None
    assert "PSD has the value 7" in body.get_content()
    assert "could not be finished" in body.get_content()


def find_runner(job_service: JobService) -> psutil.Process | None:
    """The process beside the server that runs jobs."""
    for child in job_service.server.workers():
        with contextlib.suppress(psutil.Error):  # one that was killed
            if "pipeline.jobs" in child.cmdline():
                return child
    return None


def test_a_runner_that_dies_is_started_again(job_service: JobService) -> None:
    runner = find_runner(job_service)
    assert runner is not None
    runner.kill()
    until = time.monotonic() + SECONDS
    while (found := find_runner(job_service)) is None or found.pid == runner.pid:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_a_job_whose_token_is_withdrawn_waits_for_another(job_service: JobService, browser: Browser) -> None:
    job_service.archive.tokens[LATER] = "rw"
    reply = job_service.submit(fields(SOURCE, token=LATER, **{"nomads-unsupervised.min_size": "50"}))
    place = reply.headers["Location"]
    del job_service.archive.tokens[LATER]
    job = job_service.wait(place, "needs token", "done")
    assert job["state"] == "needs token"
    assert "waits for your token" in str(job_service.box.wait(4)[3].get_body(("plain",)))
    with open_page(browser, job_service.server.url + place) as (page, _):
        page.locator("#token").fill(TOKEN)
        page.locator("button", has_text="Go on").click()
        page.locator("[data-state=done]").wait_for(timeout=SECONDS * 1000)
    assert str(job_service.box.wait(5)[4]["Subject"]).endswith("done")
    assert job_service.wait(place, "done")["parameters"]["min_size"] == 50


def test_no_secret_is_in_anything_that_was_written(job_service: JobService) -> None:
    secrets = [text.encode() for text in (TOKEN, LATER, PASSWORD, KEY)]
    pages = [job_service.server.ask(f"/jobs/{job.id}").body for job in job_service.store.list()]
    pages += [job_service.server.ask(target).body for target in ("/jobs", "/api/v1/jobs", "/metrics")]
    pages += [content for _, _, content in job_service.box.taken]
    files = [Path(folder) / name for folder, _, names in os.walk(job_service.folder) for name in names]
    assert len(files) > 30
    for content in (*pages, *(path.read_bytes() for path in files)):
        assert not [secret for secret in secrets if secret in content]
    signed = link_in(job_service, 0).rpartition(".")[2].encode()
    assert signed not in (job_service.folder / "server.log").read_bytes()
    asked = [str(line.get("path")).split("/") for line in job_service.server.logged()]
    assert {parts[2] for parts in asked if parts[1:2] == ["shared"]} == {"…"}


def test_the_log_is_one_object_a_line_for_requests(job_service: JobService) -> None:
    assert {line["logger"] for line in job_service.server.logged()} <= {"web", "web.access", "gunicorn.error"}
