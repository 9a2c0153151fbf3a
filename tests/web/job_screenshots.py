"""The pictures of the jobs' pages in the docs: ``python -m tests.web.job_screenshots docs/images``.

A stand-in archive with made synapses, the server with its runner, and Chromium, which fills in the form and watches.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page

from tests.web.browser import browsers, open_page, wait_until
from tests.web.job_desk import TOKEN
from tests.web.job_service import CONSTANT, SOURCE, JobService, make_archive, running

SHAPE = (48, 384, 512)
SMALL_BLOCKS = {"BLOCK_VOXELS": "262144"}  # enough of them for a bar that moves
SECONDS = 300.0
SETTLED_SECONDS = 3.0


def take(target: Path) -> None:
    """Make the pictures."""
    with (
        tempfile.TemporaryDirectory() as made,
        running(Path(made), make_archive(SHAPE), **SMALL_BLOCKS) as service,
        browsers() as launch,
        launch() as browser,
        open_page(browser, f"{service.server.url}/jobs") as (page, watch),
    ):
        _photograph(service, page, target)
        unexpected = [error for error in watch.errors if "status of 400" not in error]
        if unexpected:
            raise RuntimeError(unexpected)


def _photograph(service: JobService, page: Page, target: Path) -> None:
    fill(page, CONSTANT, "0, 48")
    page.locator("button.main").click()
    page.locator("[data-state=failed]").wait_for(timeout=SECONDS * 1000)
    _take(page, target / "job-failed.png")
    page.goto(f"{service.server.url}/jobs")
    fill(page, SOURCE, "0, 480")
    page.locator("#z_range-error:visible").wait_for()
    _take(page, target / "jobs-errors.png")
    fill(page, SOURCE, "0, 48")
    wait_until(page, "document.getElementById('cost').textContent.includes('To be read')")
    _take(page, target / "jobs-form.png")
    page.locator("button.main").click()
    wait_until(page, "document.querySelectorAll('#stages li').length > 1", SECONDS)
    _take(page, target / "job-running.png")
    page.locator("[data-state=done]").wait_for(timeout=SECONDS * 1000)
    service.box.wait(2)
    time.sleep(SETTLED_SECONDS)
    page.reload()
    page.wait_for_load_state("networkidle")
    _take(page, target / "job-done.png")
    page.locator("#viewer").click()
    page.locator(".neuroglancer-rendered-data-panel").first.wait_for()
    wait_until(page, "viewer.isReady()", SECONDS)
    time.sleep(SETTLED_SECONDS)
    page.screenshot(path=target / "job-viewer.png")


def fill(page: Page, source: str, z_range: str) -> None:
    """Fill in the form as a person does."""
    collection, experiment = source.split("/")
    page.locator("#pipeline").select_option("nomads-unsupervised")
    ranges = {"z_range": z_range, "y_range": "0, 384", "x_range": "0, 512"}
    for name, value in {"col": collection, "exp": experiment, **ranges, "email": "ada@lab.example"}.items():
        page.locator(f"#{name}").fill(value)
    page.locator("#token").fill(TOKEN)
    page.locator("#token").blur()


def _take(page: Page, path: Path) -> None:
    assert not re.search(TOKEN, page.content())
    page.screenshot(path=path, full_page=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]))
