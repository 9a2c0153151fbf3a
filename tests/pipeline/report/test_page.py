"""The report as a document: complete, closed to the outside, the same each time, and bounded."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from pipeline.report import page
from pipeline.report.detections import Detections, Space
from tests import detections

NASTY = "\"><img src=x onerror=alert(1)><script>alert(2)</script>'&\x1b[31m"
VOID = {"meta", "img", "input", "br"}


class Document(HTMLParser):
    """Tags with their attributes, and whether every one is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 40])
@pytest.mark.parametrize("classes", [detections.CLASSES, ("one",), ()], ids=["three", "one", "none"])
def test_pages_of_few(tmp_path: Path, n: int, classes: tuple[str, ...]) -> None:
    text = detections.write(tmp_path / "report.html", detections.make_table(n, classes=classes))
    document = Document(text)
    assert all(image["alt"] for image in document.all("img"))
    assert all(drawing["aria-label"] for drawing in document.all("svg"))
    linked = {(link["href"] or "")[1:] for link in document.all("a")}
    assert linked == {section["id"] for section in document.all("section")}
    assert "nan" not in " ".join(document.words).lower()
    assert "False" in document.words
    if n:
        assert {"Locations", "Intensities", "Distributions", "Correlations", "Clusters", "Parameters"} <= set(
            document.words
        )
        assert len(document.all("img")) == min(n, 40 if not classes else n, page.MOST_THUMBNAILS)
    else:
        assert "Nothing was detected" in text


@pytest.mark.parametrize("classes", [detections.CLASSES, ("one",), ()], ids=["three", "one", "none"])
def test_every_place_in_the_box_has_a_colour_and_lies_inside(tmp_path: Path, classes: tuple[str, ...]) -> None:
    table = detections.make_table(50, classes=classes)
    (canvas,) = Document(detections.write(tmp_path / "report.html", table)).all("canvas")
    numbers = base64.b64decode(canvas["data-groups"] or "")
    places = np.frombuffer(base64.b64decode(canvas["data-places"] or ""), "<u2").reshape(-1, 3) / 65535
    assert len(numbers) == len(places) == 50
    assert max(numbers) < len((canvas["data-colors"] or "").split())
    extent = np.array(detections.SHAPE) * detections.SPACING
    expected = table[["position_x", "position_y", "position_z"]].to_numpy() / extent.max()
    np.testing.assert_allclose(places, expected, atol=1e-4)


def test_cut_outs_lie_where_they_were_cut(tmp_path: Path) -> None:
    """Places count from the first voxel of the volume that was cut; the box begins there."""
    table = detections.make_table(30)
    moved = table.copy()
    for axis, by, spacing in zip("zyx", (100, 2000, 30), detections.SPACING, strict=True):
        moved[axis] += by
        moved[f"position_{axis}"] += by * spacing
    documents = [
        Document(detections.write(tmp_path / "report.html", rows, origin_zyx=origin))
        for rows, origin in ((table, (0, 0, 0)), (moved, (100, 2000, 30)))
    ]
    first, second = (document.all("canvas")[0]["data-places"] for document in documents)
    assert first == second
    assert "100, 2000, 30" in documents[1].words


def test_tables_without_measurements(tmp_path: Path) -> None:
    """Detections at the rim, channels that nobody measured, channels that are the same everywhere."""
    table = detections.make_table(30)
    sums = [name for name in table.columns if name.startswith("sum_")]
    Document(detections.write(tmp_path / "a.html", table.drop(columns=sums)))
    unmeasured = table.copy()
    unmeasured[sums] = np.nan
    assert "No detection was measured" in detections.write(tmp_path / "b.html", unmeasured)
    constant = table.copy()
    constant[sums] = 0.1
    Document(detections.write(tmp_path / "c.html", constant))
    together = table.copy()
    for name in ("z", "y", "x", "position_z", "position_y", "position_x", "size"):
        together[name] = 3
    Document(detections.write(tmp_path / "d.html", together))
    plain = table[["id", "z", "y", "x", "size"]]
    Document(detections.write(tmp_path / "e.html", plain, unit="voxel", spacing_zyx=(1, 1, 1), thumbnails=None))


def test_nothing_that_is_given_becomes_markup(tmp_path: Path) -> None:
    table = detections.make_table(20, classes=(NASTY, "b"), channels=(NASTY, "c"))
    options = {"title": NASTY, "parameters": {NASTY: NASTY}, "unit": NASTY}
    text = detections.write(tmp_path / "report.html", table, **options)
    document = Document(text)
    assert len(document.all("script")) == 1
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in document.all("img"))
    names = {name for _, attributes in document.tags for name in attributes}
    assert not any(name.startswith("on") or name == "style" for name in names)
    assert "\x1b" not in text


def test_policy_lets_in_only_what_is_in_the_page(tmp_path: Path) -> None:
    text = detections.write(tmp_path / "report.html", detections.make_table(5))
    (policy,) = (m["content"] for m in Document(text).all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    for kind, tag in (("style", "style"), ("script", "script")):
        name = {"style": "report.css", "script": "report.js"}[kind]
        contents = resources.files("pipeline.report").joinpath(name).read_text("utf-8")
        assert f"<{tag}>{contents}</{tag}>" in text
        digest = base64.b64encode(hashlib.sha256(contents.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.findall(r"https?://", text)


def test_same_table_same_page(tmp_path: Path) -> None:
    table = detections.make_table(3000)
    first = detections.write(tmp_path / "a.html", table)
    assert detections.write(tmp_path / "b.html", table.copy()) == first


def test_hundred_thousand_are_bounded(tmp_path: Path) -> None:
    table = detections.make_table(100_000)
    start = time.process_time()
    text = detections.write(tmp_path / "report.html", table)
    assert time.process_time() - start < 60
    assert len(text) < 2_000_000
    assert "20,000 of 100,000 are shown" in text
    assert re.search(r"(1,000|99\d) of 9\d,\d+, chosen far apart", text)


def test_pictures_of_each_class_from_small_to_large() -> None:
    table = detections.make_table(500)
    found = Detections.of(table, Space(detections.SHAPE, detections.SPACING, (0, 0, 0), "micrometer"))
    shown = page.choose_shown(found)
    assert len(shown) == page.MOST_THUMBNAILS
    chosen = table.iloc[shown]
    for _, rows in chosen.groupby("class"):
        assert len(rows) == 8
        assert rows["size"].is_monotonic_increasing
        of_class = table[table["class"] == rows["class"].iloc[0]]["size"]
        assert (rows["size"].iloc[0], rows["size"].iloc[-1]) == (of_class.min(), of_class.max())


def test_pictures_that_are_not_there_or_large(tmp_path: Path) -> None:
    table = detections.make_table(3)
    text = detections.write(tmp_path / "a.html", table, thumbnails=lambda row: None)
    assert "no pictures" in text
    large = detections.write(tmp_path / "b.html", table, thumbnails=lambda row: np.zeros((2000, 900), np.uint8))
    assert len(large) < 200_000
