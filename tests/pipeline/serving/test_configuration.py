"""Configurations: what a file may say, and the one line that tells what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import CatalogueError
from pipeline.serving.configuration import LARGEST_FILE, VolumeRow, configure, read_configuration

GOOD = """
results = ["runs"]

[[volumes]]
name = "brain"
path = "brain.zarr"
dataset = "exported_data"
axes = "zyx"
level = 1
version = "2"
projects = ["nuclei"]
labels = ["objects.zarr", "s3://bucket/objects.zarr"]
max_size = {x = 512, z = 7}

[[volumes]]
name = "far"
path = "https://lab.example/far.zarr"

[[projects]]
name = "nuclei"
path = "/projects/nuclei.ilp"
"""
VOLUME = '[[volumes]]\nname = "a"\npath = "a.npy"\n'


def _write(folder: Path, text: str) -> Path:
    (folder / "served.toml").write_text(text, encoding="utf-8")
    return folder / "served.toml"


def test_all_that_a_file_may_say(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    found = read_configuration(_write(tmp_path, GOOD))
    brain, far = found.volumes
    assert brain == VolumeRow(
        "brain",
        str(tmp_path / "brain.zarr"),
        "exported_data",
        "zyx",
        1,
        "2",
        ("nuclei",),
        (("x", 512), ("z", 7)),
        (str(tmp_path / "objects.zarr"), "s3://bucket/objects.zarr"),
    )
    assert far == VolumeRow("far", "https://lab.example/far.zarr")  # all projects, no limits
    assert [(row.name, row.path) for row in found.projects] == [("nuclei", "/projects/nuclei.ilp")]
    assert found.results == (str(tmp_path / "runs"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no volume is named"),
        ("volumes = 3", r"volumes is to be written as tables: \[\[volumes\]\]"),
        ("[[volumes", "not TOML"),
        (VOLUME + "levle = 1", "a volume has no setting 'levle'.*level"),
        ("[[volume]]\nname = 'a'", "the file has no setting 'volume'.*volumes"),
        ("[[volumes]]\nname = 'a'", "a volume needs name and path; given: name"),
        ("[[volumes]]\nname = '../a'\npath = 'a'", r"the name '\.\./a': up to 100 letters"),
        ("[[volumes]]\nname = 3\npath = 'a'", "name is to be a text, not 3"),
        (VOLUME + "level = -1", "volume a: level is to be a number from 0, not -1"),
        (VOLUME + "level = true", "level is to be a number from 0, not True"),
        (VOLUME + "axes = ['z']", "axes is to be a text"),
        (VOLUME + "projects = 'nuclei'", "projects is to be a list of texts"),
        (VOLUME + "labels = [1]", "labels is to be a list of texts"),
        (VOLUME + "max_size = {q = 5}", "max_size is to give lengths of axes"),
        (VOLUME + "max_size = {x = 0}", "each at least 1"),
        (VOLUME * 2, "two volumes are called 'a'"),
        (VOLUME + "[[projects]]\nname='p'\npath='p'\n" * 2, "two projects are called 'p'"),
        (VOLUME + "[[projects]]\nname='p'\npath='p'\nkind='x'", "a project has no setting 'kind'"),
        ("results = 'runs'\n" + VOLUME, "results is to be a list of texts"),
        ("results = ['nowhere']\n" + VOLUME, "nowhere, which is no folder"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = _write(tmp_path, text)
    with pytest.raises(CatalogueError, match=words) as caught:
        read_configuration(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read"):
        read_configuration(tmp_path / "missing.toml")
    with pytest.raises(CatalogueError, match="cannot be read"):
        read_configuration(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    with pytest.raises(CatalogueError, match="not TOML"):
        read_configuration(tmp_path / "latin.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(CatalogueError, match="larger than"):
        read_configuration(tmp_path / "large.toml")


def test_the_command_line_names_things_after_their_files() -> None:
    found = configure("my projects/Ünï code.ilp", "s3://bucket/raw data.zarr", max_size="x=5, y=6")
    assert [(row.name, row.path) for row in found.projects] == [("n-code", "my projects/Ünï code.ilp")]
    assert [(row.name, row.max_size) for row in found.volumes] == [("raw-data", (("x", 5), ("y", 6)))]
    assert configure(None, "raw.npy").projects == ()
    for wrong in ("x", "x=", "x=-1", "x=1.5", "x=5,,"):
        with pytest.raises(CatalogueError, match="max_size"):
            configure(None, "raw.npy", max_size=wrong)
