"""Folders of results: begun, gone on with, finished, replaced; never anything else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.analyses.folder import prepare
from pipeline.analyses.result import open_result, read_provenance, write_provenance
from pipeline.errors import StoreError


def finish(target: Path, digest: str, mode: str = "new") -> None:
    """A finished folder with a file in it."""
    folder = prepare(target, digest, mode)  # type: ignore[arg-type]
    (folder.partial / "table.csv").write_text(digest)
    write_provenance(folder.partial, {"digest": digest})
    folder.scratch.mkdir()
    folder.publish()


def test_it_appears_when_it_is_finished(tmp_path: Path) -> None:
    target = tmp_path / "out"
    folder = prepare(target, "d1", "new")
    assert not target.exists()
    assert not folder.resumed
    folder.close()
    again = prepare(target, "d1", "resume")
    assert again.resumed
    again.close()
    finish(target, "d1", "resume")
    assert sorted(path.name for path in target.iterdir()) == ["provenance.json", "table.csv"]
    assert prepare(target, "d1", "resume").finished
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    finish(tmp_path / "out", "d1")
    assert (read_provenance(tmp_path / "out") or {})["digest"] == "d1"


def test_results_that_are_replaced_stay_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out"
    finish(target, "d1")
    folder = prepare(target, "d2", "overwrite")
    assert (target / "table.csv").read_text() == "d1"
    folder.close()
    assert prepare(target, "d2", "resume").resumed  # goes on, though there are results of another digest
    finish(target, "d2", "overwrite")
    assert (target / "table.csv").read_text() == "d2"
    folder = prepare(target, "d3", "overwrite")
    folder.abandon()
    assert (target / "table.csv").read_text() == "d2"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_killed_between_the_two_names(tmp_path: Path) -> None:
    target = tmp_path / "out"
    finish(target, "d1")
    target.rename(tmp_path / "out.replaced")
    assert prepare(target, "d1", "resume").finished
    assert not (tmp_path / "out.replaced").exists()


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("new", "exists; choose another folder, or --overwrite it"),
        ("resume", "holds results of other data or parameters"),
    ],
)
def test_what_is_there_is_not_touched(tmp_path: Path, mode: str, said: str) -> None:
    finish(tmp_path / "out", "d1")
    with pytest.raises(StoreError, match=said):
        prepare(tmp_path / "out", "d2", mode)  # type: ignore[arg-type]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    for every in ("new", "resume", "overwrite"):
        with pytest.raises(StoreError, match=r"exists; choose|something else than results"):
            prepare(tmp_path / "mine", "d1", every)


def test_one_run_at_a_time_and_not_into_inputs(tmp_path: Path) -> None:
    (tmp_path / "in.zarr").mkdir()
    (tmp_path / "in.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(StoreError, match="lies in the input"):
        prepare(tmp_path / "in.zarr" / "out", "d1", "new", [str(tmp_path / "in.zarr")])
    with pytest.raises(StoreError, match="the one above must exist"):
        prepare(tmp_path / "a" / "b", "d1", "new")
    with pytest.raises(StoreError, match="go to a local folder"):
        prepare(Path("s3://bucket/out"), "d1", "new")


def test_unfinished_results_cannot_be_opened(tmp_path: Path) -> None:
    prepare(tmp_path / "out", "d1", "new").close()
    with pytest.raises(StoreError, match="holds no finished results"):
        open_result(tmp_path / "out.partial")
