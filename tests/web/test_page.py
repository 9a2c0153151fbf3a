"""The page in a real browser: the right colours at the right voxels, in Neuroglancer and in the plain viewer."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser, Page

from tests.servers import Server
from tests.web.browser import WITHOUT_WEBGL, Pixels, browsers, open_page, take_pixels, wait_until

SECONDS = 60.0
SCALE = 8  # pixels of a voxel
CENTRE = {"x": 20, "y": 22, "z": 18}
REACH = 15  # voxels around it that are looked at
# Pixels from a voxel's centre that lie in it, just: half a voxel off, those at the ends would be in its neighbours.
INSIDE = (-3, 0, 3)
# Of objects by their number, else Neuroglancer chooses.
OBJECT_COLORS = {"1": "#ff8000", "2": "#0080ff", "3": "#80ff00"}


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Browser]]:
    with browsers() as found:
        yield found


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    with launch() as found:
        yield found


def _read(server: Server, layer: str, channel: int | None = None) -> npt.NDArray[Any]:
    """The plane at `CENTRE`, or of one channel of it."""
    span = "" if channel is None else f"&c={channel}:{channel + 1}"
    z = CENTRE["z"]
    target = f"/api/v1/volumes/{_volume(server)}/layers/{layer}/roi?z={z}:{z + 1}{span}&format=npy"
    reply = server.ask(target)
    assert reply.status == 200, reply.text
    return np.load(io.BytesIO(reply.body)).squeeze()


def _volume(server: Server) -> str:
    name: str = server.ask("/api/v1/volumes").document["volumes"][0]["name"]
    return name


def _config(server: Server) -> dict[str, Any]:
    """What the page tells its script."""
    text = server.ask("/").text
    start = text.index(">", text.index('id="config"')) + 1
    found: dict[str, Any] = json.loads(text[start : text.index("</script>", start)])
    return found


def _state(server: Server, *visible: str, precomputed: bool = False) -> dict[str, Any]:
    """The page's own state, looking closely at a few layers without anything else around.

    Or the same layers as precomputed volumes, whose coordinates nobody has to move.
    """
    state: dict[str, Any] = json.loads(unquote(_config(server)["viewer"].partition("#!")[2]))
    for layer in state["layers"]:
        layer["visible"] = layer["name"] in visible
        if "selectedAlpha" in layer:
            layer["selectedAlpha"] = 1
        if layer["name"] == "labels":
            layer["segmentColors"] = OBJECT_COLORS
        if precomputed:
            url = layer["source"]["url"].replace("/zarr/|zarr3:", "/precomputed/|neuroglancer-precomputed:")
            layer["source"] = {"url": url}
    close = {"position": [CENTRE[axis] + 0.5 for axis in "xyz"], "crossSectionScale": 1 / SCALE}
    plain = {"showAxisLines": False, "showScaleBar": False, "crossSectionBackgroundColor": "#000000"}
    # Such a volume has no unit but the nanometre, so that is what a voxel of no known size becomes.
    measured = {"dimensions": {axis: [1e-9, "m"] for axis in "xyz"}} if precomputed else {}
    return {**state, **close, **plain, **measured}


def _sample(pixels: Pixels, middle: tuple[float, float], scale: float = SCALE) -> Pixels:
    """Colours at `INSIDE` of each voxel within reach, (y, x, places, 3)."""
    steps = np.arange(-REACH, REACH + 1) * scale
    rows = [np.floor(middle[1] + steps + at).astype(int) for at in INSIDE]
    columns = [np.floor(middle[0] + steps + at).astype(int) for at in INSIDE]
    return np.stack([pixels[np.ix_(r, c)] for r in rows for c in columns], axis=2)


def _around(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    y, x = CENTRE["y"], CENTRE["x"]
    return plane[y - REACH : y + REACH + 1, x - REACH : x + REACH + 1]


def _wait_until_equal(look: Callable[[], Pixels], expected: npt.NDArray[Any], tolerance: float) -> None:
    """Coarse levels are drawn first, so it takes a while until each pixel is right."""
    until = time.monotonic() + SECONDS
    while True:
        off = np.abs(look().astype(float) - expected[:, :, np.newaxis])
        if off.max() <= tolerance:
            return
        assert time.monotonic() < until, f"{(off > tolerance).mean():.1%} of the pixels differ, by {off.max():.0f}"
        time.sleep(0.2)


def _look_in_viewer(page: Page) -> Callable[[], Pixels]:
    page.wait_for_selector(".neuroglancer-rendered-data-panel")

    def look() -> Pixels:
        box = page.evaluate(
            "(() => { const b = document.querySelector('.neuroglancer-rendered-data-panel').getBoundingClientRect();"
            " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        return _sample(take_pixels(page), (box[0], box[1]))

    return look


def _grey(server: Server) -> npt.NDArray[Any]:
    """Raw data as it should look, (y, x, 3)."""
    digest = server.ask(f"/data/{_volume(server)}/raw/tiles/tiles.json").headers["Location"]
    low, high = server.ask(digest).document["window"]
    shown = np.clip((_around(_read(server, "raw")).astype(float) - low) / (high - low), 0, 1) * 255
    return np.repeat(shown[:, :, np.newaxis], 3, axis=2)


def _laid_over(below: npt.NDArray[Any], color: npt.NDArray[Any], opacity: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return below * (1 - opacity) + color * opacity


def _class_colors(server: Server) -> npt.NDArray[Any]:
    layers = _config(server)["layers"]
    colors = next(layer["colors"] for layer in layers if layer["name"] == "probabilities")
    return np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors], float)


def _class_names(server: Server) -> list[str]:
    layers = _config(server)["layers"]
    return next(list(layer["classes"]) for layer in layers if layer["name"] == "probabilities")


# ---- Neuroglancer


@pytest.mark.parametrize("precomputed", [False, True], ids=["zarr", "precomputed"])
def test_viewer_draws_each_layer_at_its_voxels(server_3d: Server, browser: Browser, precomputed: bool) -> None:
    colors, names = _class_colors(server_3d), _class_names(server_3d)
    probability = _around(_read(server_3d, "probabilities", 1))[:, :, np.newaxis]
    classes, grey = _around(_read(server_3d, "segmentation")).astype(int), _grey(server_3d)
    objects = _around(_read(server_3d, "labels")).astype(int)
    assert len(np.unique(classes)) > 1
    assert len(np.unique(objects)) > 1
    rows = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in OBJECT_COLORS.values()]
    shown = [
        (("raw",), grey),
        (("raw", names[1]), _laid_over(grey, colors[1], np.where(probability < 0.5, 0, probability / 2))),
        (("segmentation",), colors[classes - 1]),
        (("labels",), np.array([[0, 0, 0], *rows], float)[objects]),
    ]
    for visible, expected in shown:
        state = _state(server_3d, *visible, precomputed=precomputed)
        url = f"{server_3d.url}/v/viewer/#!{quote(json.dumps(state))}"
        with open_page(browser, url) as (page, watch):
            _wait_until_equal(_look_in_viewer(page), expected, 2.0)
            watch.check(server_3d.url)


def test_page_shows_viewer_and_its_sliders_change_it(server_3d: Server, browser: Browser) -> None:
    name = _class_names(server_3d)[0]
    with open_page(browser, server_3d.url) as (page, watch):
        frame = page.frame_locator("#viewer")
        frame.locator(".neuroglancer-rendered-data-panel").first.wait_for()
        viewer = page.frame(url=re.compile("/v/viewer/"))
        assert viewer is not None
        wait_until(viewer, "viewer.isReady()")
        box = page.locator("#controls fieldset").filter(has_text=name)
        box.locator("input[type=range]").first.fill("0.8")
        box.locator("input[type=checkbox]").uncheck()
        layers = viewer.evaluate("viewer.state.toJSON().layers")
        layer = next(entry for entry in layers if entry["name"] == name)
        assert (layer["shaderControls"], layer["visible"]) == ({"threshold": 0.8}, False)
        wait_until(page, "document.getElementById('cache').children.length > 0")
        assert len(np.unique(take_pixels(page)[100:700, 100:900].reshape(-1, 3), axis=0)) > 100
        watch.check(server_3d.url)


# ---- the plain viewer


def _uncheck_all(page: Page, keep: str) -> None:
    for box in page.locator("#controls fieldset").all():
        check = box.locator("input[type=checkbox]")
        check.set_checked(box.locator("legend").inner_text().strip() == keep)


def _look_at_slices(page: Page) -> Callable[[], Pixels]:
    def look() -> Pixels:
        place = page.evaluate(
            "(() => { const b = document.querySelector('.stage').getBoundingClientRect();"
            " return [b.left, b.top, b.width, b.height]; })()"
        )
        zoom = min(place[2] / 38, place[3] / 40)
        middle = (
            place[0] + place[2] / 2 + (CENTRE["x"] + 0.5 - 38 / 2) * zoom,
            place[1] + place[3] / 2 + (CENTRE["y"] + 0.5 - 40 / 2) * zoom,
        )
        return _sample(take_pixels(page), middle, zoom)

    return look


def test_slices_show_the_same_without_webgl(server_3d: Server, launch: Callable[..., Browser]) -> None:
    colors, names = _class_colors(server_3d), _class_names(server_3d)
    with launch(WITHOUT_WEBGL) as plain, open_page(plain, server_3d.url) as (page, watch):
        page.wait_for_selector(".tile")
        assert "WebGL" in page.locator("#hint").inner_text()
        assert page.locator("#use-viewer").is_disabled()
        _uncheck_all(page, "raw")
        _wait_until_equal(_look_at_slices(page), _grey(server_3d), 1.0)
        _uncheck_all(page, names[1])
        box = page.locator("#controls fieldset").filter(has_text=names[1])
        box.locator("input[type=range]").nth(1).fill("1")
        probability = _around(_read(server_3d, "probabilities", 1))[:, :, np.newaxis]
        _wait_until_equal(_look_at_slices(page), np.where(probability < 0.5, 0, probability * colors[1]), 2.5)
        watch.check(server_3d.url)


def test_slices_are_moved_by_keys(server_3d: Server, browser: Browser) -> None:
    with open_page(browser, f"{server_3d.url}/?view=slices") as (page, watch):
        page.wait_for_selector(".stage[data-pending='0'] .tile")
        page.locator(".stage").focus()
        before = page.locator(".tile").first.get_attribute("src")
        page.keyboard.press("PageUp")
        page.wait_for_selector(".stage[data-pending='0'] .tile")
        after = page.locator(".tile").first.get_attribute("src")
        assert (before, after) == (f"{after}".replace("/19/", "/18/"), f"{before}".replace("/18/", "/19/"))
        assert page.locator("input[name=z]").input_value() == "19"
        page.keyboard.press("+")
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector(".stage[data-pending='0'] .tile")
        watch.check(server_3d.url)


# ---- the rest of the page


def test_theme_is_chosen_and_remembered(server_3d: Server, browser: Browser) -> None:
    with open_page(browser, f"{server_3d.url}/?view=slices") as (page, _):
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        for name in ("light", "dark"):
            page.locator("#theme").click()
            assert page.locator("#theme").inner_text() == f"Theme: {name}"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
        page.reload()
        assert page.locator("#theme").inner_text() == "Theme: dark"


def test_everything_is_reached_by_the_keyboard(server_3d: Server, browser: Browser) -> None:
    with open_page(browser, f"{server_3d.url}/?view=slices") as (page, _):
        page.wait_for_selector(".stage")
        reached = set()
        for _step in range(60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("(e => e.id || e.name || e.className || e.tagName)(document.activeElement)"))
        assert {"skip", "volume", "use-slices", "theme", "toggle-panel", "stage", "z", "SUMMARY"} <= reached
