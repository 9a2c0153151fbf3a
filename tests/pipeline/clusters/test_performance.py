"""Dask's report on a run: written for any scheduler, refused beforehand, and no reason for a run to fail."""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path

import pytest

from pipeline.cluster import connect
from pipeline.clusters.terms import Terms
from pipeline.errors import MissingExtraError, ReadError
from pipeline.window import run_windowed
from tests.commands import run_here


def test_report_is_one_page_that_names_the_tasks(tmp_path: Path) -> None:
    told: list[str] = []
    page = tmp_path / "report.html"
    page.write_text("an older one")
    with connect("threads", 1, Terms(report=page, tell=told.append)) as client:
        run_windowed(client, math.sqrt, [1.0, 4.0], window=2, key_prefix="root")
    text = page.read_text(encoding="utf-8")
    assert "Dask Performance Report" in text
    assert "root-1" in text
    assert "cdn.bokeh.org" not in text
    assert told == [f"what Dask saw of the run: {page}"]
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def _fail(folder: Path, item: int) -> None:
    """Put a file where the report was to go, then raise."""
    folder.rmdir()
    folder.write_text("a file in its place")
    raise ReadError(f"chunk {item} is damaged")


def test_report_that_cannot_be_had_is_told_and_hides_no_error(tmp_path: Path) -> None:
    told: list[str] = []
    folder = tmp_path / "gone"
    folder.mkdir()
    terms = Terms(report=folder / "report.html", tell=told.append)
    with pytest.raises(ReadError, match="chunk 1"), connect("threads", 1, terms) as client:
        run_windowed(client, functools.partial(_fail, folder), [1], window=1, key_prefix="fail", retries=0)
    assert len(told) == 1
    assert told[0].startswith("there is no performance report: ")


@pytest.mark.parametrize("name", ["report.txt", "nowhere/report.html", "folder.html"])
def test_what_is_no_page_is_refused_before_any_work(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "folder.html").mkdir()
    job = [golden_dir / "projects" / "pc_3d.ilp", golden_dir / "in_3d_u8.npy", tmp_path / "out.zarr", "--axes", "zyx"]
    outcome = run_here(capsys, "predict", *job, "--performance-report", tmp_path / name)
    assert outcome.code == 2
    assert "it is a page, NAME.html, in a folder that can be written" in outcome.err[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]


def test_without_what_draws_it_the_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bokeh" else find(name))
    with (
        pytest.raises(MissingExtraError, match=r"voxelforest\[dashboard\]"),
        connect("threads", 1, Terms(report=tmp_path / "report.html")),
    ):
        pass
