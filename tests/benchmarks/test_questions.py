"""Every question at its tiny size gives figures, and the report shows them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from benchmarks import harness, report
from benchmarks.__main__ import QUESTIONS
from benchmarks.goals import list_goals
from benchmarks.machine import describe

# What there is only where a peer is.
PEERS = ("vigra", "scikit", "peer_over", "allowed_seconds", "difference")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the answers to all questions."""
    folder = tmp_path_factory.mktemp("results")
    for question in QUESTIONS:
        found = import_module(f"benchmarks.bench_{question}").measure("tiny")
        about = {"question": question, "size": "tiny", "seconds_taken": 0.0, "machine": describe()}
        harness.save(folder / f"{question}.json", {**about, **found})
    return folder


def _figures(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a document, with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _figures(item, f"{place}/{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _figures(item, f"{place}/{i}")
    else:
        yield place, value


@pytest.mark.parametrize("question", QUESTIONS)
def test_our_figures_are_there_and_not_negative(results: Path, question: str) -> None:
    figures = dict(_figures(json.loads((results / f"{question}.json").read_text())))
    ours = {place: figure for place, figure in figures.items() if not any(peer in place for peer in PEERS)}
    assert [place for place, figure in ours.items() if figure is None] == []
    assert [place for place, figure in ours.items() if isinstance(figure, float) and figure < 0] == []


def test_ratios_to_vigra_are_finite(results: Path, vigra_python: str) -> None:
    figures = [pair for path in results.glob("*.json") for pair in _figures(json.loads(path.read_text()))]
    ratios = {place: figure for place, figure in figures if "vigra_over" in place}
    assert len(ratios) > 20
    assert all(figure is not None and figure > 0 for figure in ratios.values())


def test_report_shows_every_question(results: Path, tmp_path: Path) -> None:
    page = report.write_report(report.read_results(results), tmp_path, Path(report.__file__).with_name("texts.md"))
    text = page.read_text()
    asked = [title for name, (title, _) in report.SECTIONS.items() if report.FROM.get(name, name) in QUESTIONS]
    assert len(asked) > len(QUESTIONS)
    assert all(f"## {title}\n" in text for title in asked)
    pictures = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert len(pictures) == 5
    assert all(f"images/{name}" in text for name in pictures)
    assert "nan" not in text


def test_report_of_one_question_leaves_out_the_others(results: Path, tmp_path: Path) -> None:
    shutil.copy(results / "start.json", tmp_path)
    page = report.write_report(report.read_results(tmp_path), tmp_path, Path(report.__file__).with_name("texts.md"))
    assert "## Starting" in page.read_text()
    assert "## Forest" not in page.read_text()


def test_without_vigra_its_column_says_so(results: Path, tmp_path: Path) -> None:
    document = json.loads((results / "forest.json").read_text())
    for row in document["forests"]:
        row["us_per_row"]["vigra"] = row["same_bits_as_vigra"] = None
        row["vigra_over_ours"] = harness.clean(harness.Rounds({}).ratio("vigra", "ours"))
    page = report.write_report({"forest": document}, tmp_path, Path(report.__file__).with_name("texts.md"))
    assert "| missing |" in page.read_text()
    assert {goal.verdict for goal in list_goals({"forest": document}) if "vigra" in goal.aim} == {"missing"}
