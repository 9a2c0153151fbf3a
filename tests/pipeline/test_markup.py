"""What Jupyter shows: tables with all text escaped, and drawings that fit the plan."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline import markup, open_project
from pipeline.blocks import Box
from pipeline.description import Section
from pipeline.plan import make


class Reader(HTMLParser):
    """Collects texts, and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_project_shows_features_and_class_colors(golden_dir: Path) -> None:
    project = open_project(golden_dir / "projects" / "pc_3d.ilp")
    shown = project._repr_html_()
    texts = Reader(shown).texts
    assert {*project.stages[0].class_names, project.digest} <= set(texts)
    assert "background:#" in shown


def test_names_from_files_are_escaped() -> None:
    hostile = '<script>alert("1")</script>'
    shown = markup.tables([Section(hostile, (hostile,), ((hostile,), ("#a0b1c2",), ('#a0b1c2"onload=',)))])
    assert Reader(shown).texts.count(hostile) == 3
    assert shown.count("background:") == 1


@pytest.mark.parametrize("shape", [(40, 300, 500), (30, 2000, 30), (5000, 64, 64)])
def test_plan_shows_costs_and_blocks_inside_the_picture(golden_dir: Path, shape: tuple[int, int, int]) -> None:
    project = open_project(golden_dir / "projects" / "pc_3d.ilp")
    plan = make(Box((0, 0, 0, 0), (1, *shape)), 1, "uint8", "zyx", project)
    shown = plan._repr_html_()
    assert f"{plan.n_tasks:,}" in Reader(shown).texts
    for picture in re.findall(r"<svg.*?</svg>", shown):
        (_, _, width, height), (x, y, wide, tall) = (_rectangle(text) for text in re.findall(r"<rect[^>]*>", picture))
        assert min(x, y) >= 0
        assert x + wide <= width + 0.2
        assert y + tall <= height + 0.2
        assert max(width, height) <= markup.WIDTH


def _rectangle(text: str) -> tuple[float, ...]:
    """x, y, width and height of an SVG rectangle."""
    values = dict(re.findall(r'(\w+)="([-\d.]+)"', text))
    return tuple(float(values.get(name, 0)) for name in ("x", "y", "width", "height"))
