from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import PipelineError, StoreError
from pipeline.output import _short, locate, read_record
from tests.outputs import begin, contents, make_spec, make_values, write_all, write_level_0

SPEC = make_spec((2, 20, 18), "cyx")
VALUES = {"probabilities": make_values(SPEC)}
NAMES = ["out.zarr", "out.h5", "out.npy", "out.tif"]


def make_finished(path: Path, digest: str = "d1") -> None:
    write_all(begin(path, SPEC, digest=digest), VALUES)


def make_partial(path: Path, digest: str = "d1") -> None:
    store = begin(path, SPEC, digest=digest)
    store.write("probabilities", (0, 0, 0), VALUES["probabilities"][:, :16, :16])
    store.close()


def make_foreign_file(path: Path) -> None:
    path.write_text("mine")


def make_foreign_folder(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("mine")


STATES: dict[str, Any] = {
    "nothing": lambda path: None,
    "finished": make_finished,
    "finished other": lambda path: make_finished(path, "d2"),
    "partial": make_partial,
    "partial other": lambda path: make_partial(path, "d2"),
    "foreign file": make_foreign_file,
    "foreign folder": make_foreign_folder,
}
CASES = [  # what is there, mode, outcome: "begin", "continue", "finished", or words of the refusal
    ("nothing", "new", "begin"),
    ("finished", "new", "exists; choose another OUT, or --overwrite"),
    ("finished other", "new", "exists"),
    ("partial", "new", "--resume goes on with it, --overwrite starts again"),
    ("partial other", "new", "its digest is d2, this run's d1); --overwrite starts again"),
    ("foreign file", "new", "exists"),
    ("foreign folder", "new", "exists"),
    ("nothing", "overwrite", "begin"),
    ("finished", "overwrite", "begin"),
    ("finished other", "overwrite", "begin"),
    ("partial", "overwrite", "begin"),
    ("partial other", "overwrite", "begin"),
    ("foreign file", "overwrite", "begin"),
    ("foreign folder", "overwrite", "is not an output"),
    ("nothing", "resume", "begin"),
    ("finished", "resume", "finished"),
    ("finished other", "resume", "its digest is d2, this run's d1; choose another OUT, or --overwrite"),
    ("partial", "resume", "continue"),
    ("partial other", "resume", "its digest is d2, this run's d1; run as before, or --overwrite"),
    ("foreign file", "resume", "it holds no record of how it was made"),
    ("foreign folder", "resume", "it holds no record of how it was made"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("state", "mode", "outcome"), CASES, ids=[f"{a}-{b}" for a, b, _ in CASES])
def test_what_exists_decides_with_the_mode(tmp_path: Path, name: str, state: str, mode: Any, outcome: str) -> None:
    STATES[state](tmp_path / name)
    before = contents(tmp_path)
    if outcome not in ("begin", "continue", "finished"):
        with pytest.raises(StoreError) as caught:
            begin(tmp_path / name, SPEC, mode=mode)
        assert outcome in str(caught.value)
        assert contents(tmp_path) == before
        return
    store = begin(tmp_path / name, SPEC, mode=mode)
    assert store.finished == (outcome == "finished")
    if not store.finished:
        assert store.is_written("probabilities", (0, 0, 0), (2, 16, 16)) == (outcome == "continue")
    assert read_record(write_all(store, {} if store.finished else VALUES))["complete"] is True  # type: ignore[index]
    assert {path.name for path in tmp_path.iterdir()} <= {name, f"{name}.json"}


@pytest.mark.parametrize("name", NAMES)
def test_old_output_stays_whole_until_it_is_replaced(tmp_path: Path, name: str) -> None:
    make_finished(tmp_path / name, "d2")
    before = contents(tmp_path)
    store = begin(tmp_path / name, SPEC, mode="overwrite")
    write_level_0(store, "probabilities", VALUES["probabilities"])
    assert {k: v for k, v in contents(tmp_path).items() if not k.startswith("out.partial.zarr")} == before
    write_all(store, VALUES)
    assert read_record(tmp_path / name)["digest"] == "d1"  # type: ignore[index]


@pytest.mark.parametrize("name", NAMES)
def test_interrupted_overwrite_is_resumed(tmp_path: Path, name: str) -> None:
    make_finished(tmp_path / name, "d2")
    begin(tmp_path / name, SPEC, mode="overwrite").close()
    write_all(begin(tmp_path / name, SPEC, mode="resume"), VALUES)
    assert read_record(tmp_path / name)["digest"] == "d1"  # type: ignore[index]


def test_overwrite_given_up_leaves_the_old_output(tmp_path: Path) -> None:
    make_finished(tmp_path / "out.zarr", "d2")
    before = contents(tmp_path)
    begin(tmp_path / "out.zarr", SPEC, mode="overwrite").abandon()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("renames", [0, 1])
def test_kill_while_replacing_loses_neither_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    make_finished(tmp_path / "out.zarr", "d2")
    store = begin(tmp_path / "out.zarr", SPEC, mode="overwrite")
    rename, left = Path.rename, iter(range(renames))

    def rename_or_die(self: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", rename_or_die)
    with pytest.raises(KeyboardInterrupt):
        write_all(store, VALUES)
    monkeypatch.setattr(Path, "rename", rename)
    assert begin(tmp_path / "out.zarr", SPEC, mode="resume").finished  # nothing was missing but the name
    assert read_record(tmp_path / "out.zarr")["digest"] == "d1"  # type: ignore[index]
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_partial_left_after_the_end_is_removed_by_resume(tmp_path: Path) -> None:
    make_partial(tmp_path / "out.h5")
    (tmp_path / "out.partial.zarr").rename(tmp_path / "aside")
    make_finished(tmp_path / "out.h5")
    (tmp_path / "aside").rename(tmp_path / "out.partial.zarr")
    assert begin(tmp_path / "out.h5", SPEC, mode="resume").finished
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("out.zarr", {"version": "0.4"}, "its version is 0.5, this run's 0.4"),
        ("out.h5", {}, "its version is 0.5"),  # another kind of output works in the same folder
    ],
)
def test_partial_of_another_layout_is_not_continued(
    tmp_path: Path, name: str, changes: dict[str, Any], words: str
) -> None:
    make_partial(tmp_path / "out.zarr")
    with pytest.raises(StoreError) as caught:
        begin(tmp_path / name, SPEC, mode="resume", **changes)
    assert words in str(caught.value)


def test_partial_of_other_chunks_is_not_continued_but_a_finished_output_serves(tmp_path: Path) -> None:
    other = make_spec((2, 20, 18), "cyx", chunks=(2, 8, 8))
    make_partial(tmp_path / "out.zarr")
    with pytest.raises(StoreError, match="its chunks of probabilities is"):
        begin(tmp_path / "out.zarr", other, mode="resume")
    make_finished(tmp_path / "other.zarr")
    assert begin(tmp_path / "other.zarr", other, mode="resume").finished


def test_empty_folder_of_a_run_killed_at_once_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out.partial.zarr").mkdir()
    assert not begin(tmp_path / "out.zarr", SPEC, mode="resume").finished


def test_unfinished_folder_under_the_final_name_is_not_taken_for_a_result(tmp_path: Path) -> None:
    make_partial(tmp_path / "out.zarr")
    (tmp_path / "out.partial.zarr").rename(tmp_path / "out.zarr")
    with pytest.raises(StoreError, match="it is incomplete"):
        begin(tmp_path / "out.zarr", SPEC, mode="resume")


def test_npy_that_was_changed_since_is_not_taken_for_a_result(tmp_path: Path) -> None:
    make_finished(tmp_path / "out.npy")
    np.save(tmp_path / "out.npy", np.zeros(3))
    with pytest.raises(StoreError, match="no record"):
        begin(tmp_path / "out.npy", SPEC, mode="resume")


def test_link_to_an_output_is_replaced_and_what_it_points_to_is_kept(tmp_path: Path) -> None:
    make_finished(tmp_path / "real.zarr", "d2")
    (tmp_path / "out.zarr").symlink_to(tmp_path / "real.zarr")
    write_all(begin(tmp_path / "out.zarr", SPEC, mode="overwrite"), VALUES)
    assert not (tmp_path / "out.zarr").is_symlink()
    assert read_record(tmp_path / "real.zarr")["digest"] == "d2"  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("out.jpg", "ends in '.jpg'; outputs end in .zarr, .h5, .npy, .tif, .tiff, .png"),
        ("out", "'nothing'"),
        ("missing/out.zarr", "folder of"),
        ("https://host/out.zarr", "cannot write to https://host/out.zarr: outputs go to local folders and to s3://"),
        ("s3://bucket/out.h5", "cannot write .h5 to s3://"),
        ("s3://bucket/out", "is not s3://BUCKET/NAME.zarr"),
        ("s3://out.zarr", "is not s3://BUCKET/NAME.zarr"),
    ],
)
def test_path_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError) as caught:
        locate(path)
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "0.3"}, "OME-Zarr version '0.3' is not one of 0.4, 0.5"),
        ({"final_axes": "yx"}, "axes 'yx' do not name each axis of image probabilities (cyx) once"),
        ({"final_axes": "yxcc"}, "'yxcc'"),
    ],
)
def test_request_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(StoreError) as caught:
        begin(tmp_path / "out.h5", SPEC, **changes)
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_one_file_holds_one_image(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"out.npy holds one image, 2 were asked for"):
        begin(tmp_path / "out.npy", SPEC, make_spec(name="uncertainty"))


def test_what_was_given_is_cut_off_in_messages() -> None:
    assert _short("x" * 80) == "x" * 80
    assert _short("x" * 81) == "x" * 77 + "..."
