"""The table: which file is read by what, and what is said where nothing reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import formats
from pipeline.errors import MissingExtraError, VolumeError
from pipeline.formats import open_source


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    np.save(tmp_path / "v.npy", np.zeros((3, 4), "u1"))
    return tmp_path / "v.npy"


def test_path_may_be_text_relative_or_a_file_url(npy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(npy.parent)
    found = {open_source(path).fingerprint for path in (npy, str(npy), "v.npy", f"file://{npy}")}
    assert len(found) == 1


def test_suffix_may_be_in_capitals(npy: Path) -> None:
    assert open_source(npy.rename(npy.with_suffix(".NPY"))).shape == (3, 4)


def test_folder_may_have_the_suffix_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "all.h5").mkdir()
    np.save(tmp_path / "all.h5" / "v.npy", np.zeros((3, 4), "u1"))
    assert open_source(tmp_path / "all.h5" / "v.npy").shape == (3, 4)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("v.txt", r"this file is of no known format; known are \.zarr, \.h5"),
        ("v.czi", "convert with bioformats2raw"),
        ("v.zarr", "is a file; Zarr is kept in a folder"),
        ("gone/v.npy", "no such file or folder"),
    ],
)
def test_unreadable_paths_say_why(tmp_path: Path, name: str, text: str) -> None:
    if "/" not in name:
        (tmp_path / name).write_text("text")
    with pytest.raises(VolumeError, match=text):
        open_source(tmp_path / name)


def test_plain_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="this folder is of no known format"):
        open_source(tmp_path)


def test_unknown_scheme_lists_those_that_are_read() -> None:
    with pytest.raises(VolumeError, match=r"is not read; known schemes are .*boss.*s3"):
        open_source("ftp://x/v.zarr")


@pytest.mark.parametrize(("options", "text"), [({"dataset": "a"}, "no dataset, 'a'"), ({"level": 2}, "no level, 2")])
def test_option_that_a_format_lacks_is_refused(npy: Path, options: dict[str, object], text: str) -> None:
    with pytest.raises(VolumeError, match=text):
        open_source(npy, **options)  # type: ignore[arg-type]


def test_path_going_on_inside_a_plain_file_is_refused(npy: Path) -> None:
    with pytest.raises(VolumeError, match="NPY files have no dataset"):
        open_source(npy / "inner")


def test_file_that_may_not_be_read_is_a_volume_error(npy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pipeline.formats.npy.stamp", refuse)
    with pytest.raises(VolumeError, match=r"v\.npy: cannot be opened: Permission denied"):
        open_source(npy)


def test_missing_library_is_named(npy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = formats.Format("NPY", (".npy",), "pipeline.formats.absent", "something")
    monkeypatch.setattr(formats, "FORMATS", (row,))
    with pytest.raises(MissingExtraError, match="pip install something"):
        open_source(npy)


def test_missing_library_of_a_scheme_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, **options: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    with pytest.raises(MissingExtraError, match=r"voxelforest\[cloud\].*Install s3fs"):
        open_source("s3://bucket/v.zarr")
