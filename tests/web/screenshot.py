"""The picture of the page in the README: ``python -m tests.web.screenshot docs/images/page.png``.

A made volume and a project trained on strokes of it, served, opened in Chromium, and looked at until all is drawn.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline import open_volume, samples, train
from tests.servers import serving
from tests.web.browser import browsers, open_page, wait_until

SHAPE = (48, 320, 400)  # z, y, x
CLASSES = ("Vessel", "Tissue", "Membrane", "Nucleus")
SETTLED_SECONDS = 3.0


def take(target: Path) -> None:
    """Make the picture."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        sample = samples.tissue(SHAPE)
        np.save(folder / "raw.npy", sample.raw)
        raw = open_volume(folder / "raw.npy", axes="zyx")
        strokes = samples.scribbles(sample.truth, strokes=80)
        training = train(raw, strokes, features="light", seed=1, class_names=CLASSES)
        training.write(folder / "tissue.ilp")
        with serving(folder / "tissue.ilp", folder / "raw.npy", "--axes", "zyx", folder=folder) as server:
            _photograph(server.url, target)


def _photograph(url: str, target: Path) -> None:
    with browsers() as launch, launch() as browser, open_page(browser, url) as (page, watch):
        page.frame_locator("#viewer").locator(".neuroglancer-rendered-data-panel").first.wait_for()
        viewer = page.frame(url=re.compile("/v/viewer/"))
        assert viewer is not None
        page.locator("#controls fieldset").filter(has_text="Tissue").locator("input[type=checkbox]").uncheck()
        wait_until(viewer, "viewer.isReady()", 300.0)
        time.sleep(SETTLED_SECONDS)  # ready means that nothing is missing; drawing it takes a moment
        watch.check(url)
        page.screenshot(path=target)


if __name__ == "__main__":
    take(Path(sys.argv[1]))
