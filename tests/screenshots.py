"""Every picture of the README and the docs: ``make screenshots``, or ``python -m tests.screenshots docs/images page``.

Each is made by running what it shows: the demo, the server in Chromium, a job from the form to its results. Plots are
drawn from the results of measurements that are stored.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import plots, scaling_report
from benchmarks.report import read_results
from pipeline.demo import run_demo
from pipeline.progress import Progress
from tests.conftest import ROOT
from tests.web import job_screenshots, screenshot

FOLDER = ROOT / "docs" / "images"


def take_demo(folder: Path) -> None:
    """The picture that the demo draws."""
    with tempfile.TemporaryDirectory() as made:
        done = run_demo(Path(made) / "demo", Progress())
        Path(done["picture"]).replace(folder / "demo.png")


def take_page(folder: Path) -> None:
    """The page in a browser."""
    screenshot.take(folder / "page.png")


def draw_plots(folder: Path) -> None:
    """Plots of the page of figures."""
    plots.draw_all(read_results(ROOT / "benchmarks" / "results"), folder)


def draw_scaling(folder: Path) -> None:
    """The plot of the page about scaling, with the page."""
    results, texts = ROOT / "benchmarks" / "results" / "scaling.json", ROOT / "benchmarks" / "scaling_texts.md"
    scaling_report.write_page(json.loads(results.read_text(encoding="utf-8")), folder.parent, texts)


# What each maker makes: the beginning of the pictures' names.
MAKERS: dict[str, Callable[[Path], None]] = {
    "demo": take_demo,
    "page": take_page,
    "job": job_screenshots.take,
    "performance-": draw_plots,
    "scaling": draw_scaling,
}


def main(folder: Path = FOLDER, only: str = "") -> None:
    """Make all pictures, or those of one maker."""
    for name, make in MAKERS.items():
        if name.startswith(only):
            print(f"== {name}", flush=True)
            make(folder)


if __name__ == "__main__":
    main(*(convert(text) for convert, text in zip((Path, str), sys.argv[1:], strict=False)))
