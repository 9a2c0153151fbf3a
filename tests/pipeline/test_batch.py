"""Many volumes at once: names, patterns, failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.batch import Item, Outcome, arrange, describe, document, is_batch, nickname, run_all
from pipeline.errors import CancelledError, ReadError, VolumeError
from pipeline.errors import PlanError as Refused
from pipeline.progress import Event, Note, Progress
from pipeline.summary import Summary
from tests.outputs import make_spec

PROBABILITIES = ("probabilities",)


@pytest.mark.parametrize(
    ("raws", "out", "expected"),
    [
        (["a.tif"], "out.zarr", False),
        (["a.tif"], "new", False),
        (["a.tif"], "new/", True),
        (["a.tif"], "{nickname}.h5", True),
        (["a.tif", "b.tif"], "out.zarr", True),
        (["a.tif"], "folder", True),
        (["a.tif"], "folder.zarr", False),
        (["a.tif"], "s3://bucket/x/", True),
        (["a.tif"], "s3://bucket/x.zarr", False),
    ],
)
def test_what_makes_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raws: list[str], out: str, expected: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.zarr").mkdir()
    assert is_batch(raws, out) is expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("cells.tif", "cells"),
        ("/data/cells.OME.TIFF", "cells"),
        ("data/raw.h5", "raw"),
        ("data/raw.h5/volume/data", "raw-volume-data"),
        ("s3://bucket/em.zarr/0", "em-0"),
        ("em.ome.zarr", "em"),
        ("scan/z*.tif", "scan"),
        ("z*.tif", "stack"),
        ("data/scan", "scan"),
        ("v1.2.npy", "v1.2"),
    ],
)
def test_nickname_is_the_name_without_suffix(raw: str, expected: str) -> None:
    assert nickname(raw) == expected


def test_outputs_are_named_by_input_and_result(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert arrange(["a.tif", "d/b.h5"], folder, PROBABILITIES) == (
        Item("a.tif", f"{folder}/a_probabilities.zarr"),
        Item("d/b.h5", f"{folder}/b_probabilities.zarr"),
    )
    several = arrange(["a.tif", "b.tif"], "out/", ("probabilities", "segmentation"))
    assert several[1].out == "out/b_probabilities-segmentation.zarr"
    assert arrange(["a.tif"], "out/{output}/{nickname}.h5", PROBABILITIES)[0].out == "out/probabilities/a.h5"


def test_files_of_a_pattern_come_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        (tmp_path / f"z{number}.png").touch()
    found = arrange([f"{tmp_path}/z*.png"], "out/", PROBABILITIES)
    assert [Path(item.raw).name for item in found] == ["z1.png", "z2.png", "z10.png"]


def test_what_an_interrupted_run_left_matches_no_pattern(tmp_path: Path) -> None:
    for name in ("a.zarr", "a_probabilities.partial.zarr"):
        (tmp_path / name).mkdir()
    assert [Path(item.raw).name for item in arrange([f"{tmp_path}/*.zarr"], "out/", PROBABILITIES)] == ["a.zarr"]


def test_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a[1].png").touch()
    assert arrange([f"{tmp_path}/a[1].png"], "out/", PROBABILITIES)[0].raw == f"{tmp_path}/a[1].png"


def test_pattern_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="no file matches"):
        arrange([f"{tmp_path}/z*.png"], "out/", PROBABILITIES)


@pytest.mark.parametrize(
    ("raws", "out", "words"),
    [
        (["a/x.tif", "b/x.tif"], "out/", "a/x.tif and b/x.tif would both become out/x_probabilities.zarr"),
        (["a.tif", "b.tif"], "out.h5", "2 volumes, but OUT out.h5 is one output; give a folder"),
        (["a.tif", "b.tif"], "{output}.h5", "is one output"),
        (["a.tif", "d/a_probabilities.zarr"], "d/", "d/a_probabilities.zarr, the output for a.tif, is an input"),
        (["a.tif"], "{name}.h5", "names {name}; known are {nickname} and {output}"),
        (["a.tif"], "{nickname}.jpg", "{nickname}.jpg is of no known kind; outputs end in .zarr"),
    ],
)
def test_names_that_cannot_be_are_refused(raws: list[str], out: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        arrange(raws, out, PROBABILITIES)
    assert words in caught.value.message
    assert caught.value.code == "names"


def test_two_results_do_not_go_into_one_file() -> None:
    with pytest.raises(Refused) as caught:
        arrange(["a.tif", "b.tif"], "out/{nickname}.h5", ("probabilities", "segmentation"))
    assert caught.value.message == ".h5 holds one image, 2 were asked for (probabilities, segmentation); use .zarr"


def test_folders_that_stay_empty_are_removed(tmp_path: Path) -> None:
    def run(item: Item) -> Summary:
        if item.raw == "good":
            Path(item.out).touch()
            return summarise(item)
        raise ReadError("damaged")

    (tmp_path / "old").mkdir()
    names = {"bad": "new/deep/a.zarr", "worse": "old/a.zarr", "good": "new/kept/a.zarr"}
    run_all([Item(raw, f"{tmp_path}/{out}") for raw, out in names.items()], run, Progress())
    assert {path.name for path in tmp_path.rglob("*") if path.is_dir()} == {"old", "new", "kept"}


def summarise(item: Item) -> Summary:
    return Summary(item.out, (make_spec(),), 1000, 1.5, 3, 1 << 20, reused=False)


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    def run(item: Item) -> Summary:
        assert (tmp_path / "new").is_dir()
        if item.raw == "b":
            raise ReadError("b is cut off")
        return summarise(item)

    told: list[Event] = []
    items = [Item(name, f"{tmp_path}/new/{name}.zarr") for name in "abc"]
    outcomes = run_all(items, run, Progress(told.append))
    assert [outcome.summary is not None for outcome in outcomes] == [True, False, True]
    assert told == [Note("1 of 3: a"), Note("2 of 3: b"), Note("failed: b is cut off"), Note("3 of 3: c")]
    (section,) = describe(outcomes)
    assert section.title == "3 volumes, 1 failed"
    assert section.rows[1][-1] == "failed: b is cut off"
    found = json.loads(json.dumps(document(outcomes)))
    assert found["failed"] == 1
    assert [(r["input"], r["error"]) for r in found["results"]] == [("a", None), ("b", "b is cut off"), ("c", None)]
    assert found["results"][0]["output"] == f"{tmp_path}/new/a.zarr"


def test_interruption_stops_all(tmp_path: Path) -> None:
    def run(item: Item) -> Summary:
        raise CancelledError("interrupted")

    with pytest.raises(CancelledError):
        run_all([Item("a", f"{tmp_path}/a.zarr"), Item("b", f"{tmp_path}/b.zarr")], run, Progress())


def test_table_says_what_was_there_before() -> None:
    done = Summary("a.zarr", (make_spec(),), 10, 0.1, 0, 0, reused=True)
    assert describe([Outcome(Item("a", "a.zarr"), done)])[0].rows[0][-1] == "was finished before"
