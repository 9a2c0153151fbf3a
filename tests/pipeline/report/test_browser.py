"""The report in Chromium: no error, nothing asked for, nothing cut off; the box turns by keys and pointer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright", reason="playwright is not installed: the extra [test]")

from playwright.sync_api import Browser, Page

from tests import detections
from tests.pipeline.report.test_page import NASTY
from tests.web.browser import browsers, take_pixels


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers() as launch, launch() as started:
        yield started


def look(browser: Browser, path: Path, width: int = 1280, scheme: str = "light") -> tuple[Page, list[str]]:
    """A page, and what went wrong on it or was asked for beyond it."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda line: trouble.append(line.text))
    page.on("dialog", lambda dialog: trouble.append(dialog.message))
    page.on("request", lambda asked: trouble.append(asked.url) if not asked.url.startswith("data:") else None)
    page.goto(path.as_uri())
    page.wait_for_load_state("load")
    assert trouble == [path.as_uri()]
    return page, trouble


def pixels_of_box(page: Page) -> np.ndarray:
    """What the box shows, once it has been drawn."""
    page.locator("canvas").scroll_into_view_if_needed()
    page.wait_for_timeout(150)
    return take_pixels(page)


@pytest.mark.parametrize("n", [0, 1, 2, 100_000])
def test_page_is_whole_at_every_width(browser: Browser, tmp_path: Path, n: int) -> None:
    path = tmp_path / "report.html"
    detections.write(path, detections.make_table(n))
    for width, scheme in ((1280, "light"), (390, "dark")):
        page, trouble = look(browser, path, width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        broken = page.evaluate("[...document.images].filter((image) => !image.naturalWidth).length")
        assert broken == 0
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
        if n:
            assert page.locator("canvas").is_visible()
        assert trouble == [path.as_uri()]
        page.close()


def test_box_turns_zooms_and_hides_classes(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    detections.write(path, detections.make_table(300))
    page, trouble = look(browser, path)
    canvas = page.locator("canvas")
    first = pixels_of_box(page)
    canvas.focus()
    seen = [first]
    page.keyboard.press("ArrowRight")
    seen.append(pixels_of_box(page))
    page.keyboard.press("+")
    seen.append(pixels_of_box(page))
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 220, box["y"] + 60, steps=4)
    page.mouse.up()
    seen.append(pixels_of_box(page))
    page.get_by_role("checkbox", name="non-GABA").uncheck()
    seen.append(pixels_of_box(page))
    page.get_by_role("button", name="Along z").click()
    seen.append(pixels_of_box(page))
    for before, after in itertools.pairwise(seen):
        assert (before != after).any(axis=2).sum() > 200
    page.get_by_role("checkbox", name="non-GABA").check()
    page.get_by_role("button", name="Reset").click()
    canvas.focus()
    assert (pixels_of_box(page) != first).any(axis=2).mean() < 0.02  # the ring of the focus
    assert trouble == [path.as_uri()]
    page.close()


def test_without_scripts_the_views_along_the_axes_are_there(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    detections.write(path, detections.make_table(300))
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert not page.locator("canvas").is_visible()
    assert page.get_by_role("img", name="300 detections seen along z").is_visible()
    context.close()


def test_names_from_outside_do_nothing(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    table = detections.make_table(20, classes=(NASTY, "b"), channels=(NASTY, "c"))
    detections.write(path, table, title=NASTY, parameters={NASTY: NASTY}, unit=NASTY)
    page, trouble = look(browser, path)
    page.wait_for_timeout(200)
    assert trouble == [path.as_uri()]
    page.close()
