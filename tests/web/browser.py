"""Chromium in tests: pages are opened, their pixels read, and all that they ask for is watched."""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Browser, Frame, Page, sync_playwright

Pixels = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 1280, 800
WITHOUT_WEBGL = "--disable-3d-apis"


@dataclass
class Watch:
    """What went wrong on a page, and where it asked."""

    errors: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def check(self, url: str) -> None:
        """Nothing went wrong, nothing was refused, and only one server was asked."""
        assert self.errors == []
        assert self.refused == []
        assert self.hosts == {url}


@contextlib.contextmanager
def browsers() -> Iterator[Callable[..., Browser]]:
    """Starts the system's Chromium with further options; the test is skipped where there is none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        yield lambda *options: playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *options])


@contextlib.contextmanager
def open_page(browser: Browser, url: str) -> Iterator[tuple[Page, Watch]]:
    """A page and what it does."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    watch = Watch()

    def see(asked: str) -> None:
        if not asked.startswith(("data:", "blob:")):
            watch.hosts.add("/".join(asked.split("/")[:3]))

    page.on("pageerror", lambda error: watch.errors.append(str(error)))
    page.on("console", lambda line: watch.errors.append(line.text) if line.type == "error" else None)
    page.on("request", lambda request: see(request.url))
    page.on("response", lambda reply: watch.refused.append(reply.url) if reply.status >= 400 else None)
    page.goto(url)
    yield page, watch
    page.close()


def wait_until(place: Page | Frame, expression: str, seconds: float = 60.0) -> None:
    """Wait for an expression to hold; playwright's own way evaluates strings, which the page's policy forbids."""
    until = time.monotonic() + seconds
    while not place.evaluate(expression):
        assert time.monotonic() < until, f"{expression} does not hold"
        time.sleep(0.1)


def take_pixels(page: Page) -> Pixels:
    """What the page shows, (y, x, red green blue)."""
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
