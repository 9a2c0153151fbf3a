"""``voxelforest nomads-unsupervised`` and its like, on files and straight from an archive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer

from pipeline import analyses, analysis_command
from pipeline.boss import disk_cache
from pipeline.config import settings
from pipeline.errors import AnalysisError
from pipeline.formats.handles import close_handles
from tests.archive_contents import Archive
from tests.archive_server import serving
from tests.commands import Outcome, run_here
from tests.synapses import expect, read, scene

ORIGIN = (2, 10, 20)
STOP = tuple(a + n for a, n in zip(ORIGIN, (20, 40, 44), strict=True))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The scene's channels as NAME=VOLUME."""
    for name, values in scene().items():
        np.save(tmp_path / f"{name}.npy", values)
    return [f"{name}={tmp_path / name}.npy" for name in scene()]


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Archive]:
    """The scene as ``col/exp`` of an archive, and ``out/results`` to push to."""
    made = Archive()
    made.add("col/exp", STOP, ORIGIN)  # type: ignore[arg-type]
    for name, values in scene().items():
        made.add_channel(f"col/exp/{name}", values, kind="annotation" if name == "annotation" else "image")
    made.add("out/results", (40, 80, 120))
    monkeypatch.setattr("pipeline.formats.retry.FIRST_PAUSE", 0.001)
    monkeypatch.setattr(disk_cache, "LEDGER", disk_cache.make_ledger())
    with serving(made):
        variables = {
            "BOSS_URL": made.url,
            "BOSS_TOKEN": "writer",
            "BOSS_PUSH": "out/results",
            "DATA_DIR": tmp_path / "d",
        }
        for name, value in variables.items():
            monkeypatch.setenv(f"VOXELFOREST_{name}", str(value))
        settings.cache_clear()
        yield made
    close_handles()
    monkeypatch.undo()
    settings.cache_clear()


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Outcome:
    outcome = run_here(capsys, "nomads-unsupervised", *arguments, "--json")
    assert outcome.code == code, outcome.err
    return outcome


def test_files_by_name(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    common = ("--axes", "zyx", "--z-range", "1,20", "--min-size", "40")
    document = run(capsys, *files, out, *common).document
    expected = expect({name: values[1:] for name, values in scene().items()}, min_size=40)
    assert document["objects"] == len(expected.places)
    assert document["files"]["All"] == "detections.zarr"
    assert np.array_equal(read(out, "detections.zarr/labels/objects"), expected.labels)
    assert json.loads((out / "provenance.json").read_text())["origin_zyx"] == [1, 0, 0]
    assert run(capsys, *files, out, *common, "--resume").document["reused"]
    text = run_here(capsys, "nomads-unsupervised", *files, out, *common, "--resume").out
    assert text[0].endswith(f"{len(expected.places)} detections (was finished before, nothing was left to do)")


def test_one_file_with_names_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volumes = scene()
    np.save(tmp_path / "all.npy", np.stack([volumes["PSD95_b"], volumes["synapsin_a"]]))
    asked = (tmp_path / "all.npy", tmp_path / "out", "--axes", "czyx")
    document = run(capsys, *asked, "--channels", "PSD,synapsin").document
    assert document["objects"] == len(expect(volumes).places)
    refused = run(capsys, *asked, "--overwrite", code=2)
    assert "no channel whose name contains psd" in refused.document_of_error["message"]


def test_options_of_the_old_driver(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOXELFOREST_BOSS_TOKEN")
    settings.cache_clear()
    (tmp_path / "token").write_text("writer\n")
    ranges = ("--z-range", "2, 20", "--y-range", "10,50", "--x-range", "20,60")
    place = ("--host", archive.url, "--token-file", tmp_path / "token", "--col", "col", "--exp", "exp")
    document = run(capsys, *place, *ranges, "--push").document
    expected = expect({name: values[:18, :, :40] for name, values in scene().items()})
    assert document["objects"] == len(expected.places)
    channel = "nomads-unsupervised_col_exp_z_2_20_y_10_50_x_20_60_All"
    assert list(document["pushed"]) == ["All"]
    assert document["pushed"]["All"].endswith(channel)
    pushed = archive.places["out", "results"].channels[channel].data
    assert pushed is not None
    assert np.array_equal(pushed[2:20, 10:50, 20:60], np.where(expected.labels > 0, 255, 0))
    assert (Path(document["output"]) / "report.html").is_file()
    assert Path(document["output"]).is_relative_to(tmp_path / "d")
    table = (Path(document["output"]) / "table.csv").read_text()
    assert "writer" not in table + (Path(document["output"]) / "provenance.json").read_text()


def test_address_of_an_experiment(archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = "boss://col/exp?z=2:20&channel=PSD95_b,synapsin_a"
    document = run(capsys, address, tmp_path / "out").document
    expected = expect({name: values[:18] for name, values in scene().items()})
    assert document["objects"] == len(expected.places)
    assert not any("DAPI" in line for line in archive.requests if "/cutout/" in line)


def test_rights_are_asked_for_before_anything_is_computed(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXELFOREST_BOSS_TOKEN", "reader")
    settings.cache_clear()
    refused = run(capsys, "--col", "col", "--exp", "exp", tmp_path / "out", "--push", code=2)
    assert refused.document_of_error["code"] == "forbidden"
    assert not (tmp_path / "out").exists()
    assert archive.counts()["GET cutout"] <= len(scene())  # a voxel of each channel


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["{files}"], "1 paths were given; give a VOLUME and the folder OUT"),
        (["{files}", "b={files}", "out"], "give each as NAME=VOLUME"),
        (["a={files}", "a={files}", "out"], "two channels are named a"),
        (["{files}", "out", "--col", "c"], "--col and --exp go together"),
        (["boss://c/e", "--col", "c", "--exp", "e"], "one experiment at a time"),
        (["a", "b", "--col", "c", "--exp", "e", "--z-range", "5"], "--z-range: '5' is not \"start, stop\""),
        (["{files}", "out", "--push"], "--push is for volumes of the archive"),
        (["{files}", "out", "--resume", "--overwrite"], "exclude each other"),
        (["{files}", "out", "--min-size", "0"], "min_size: '0' was given; allowed is a whole number from 1"),
        (["{files}", "out", "--measure", "al"], "did you mean all?"),
        (["{files}", "out", "--axes", "zyx", "--y-range", "1,999"], "--y-range 1,999 reaches out of 0,40"),
        (["{files}", "out", "--channels", "a,b", "--axes", "zyx"], "wanted are 1 different names"),
    ],
)
def test_refusals(
    asked: list[str], said: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = files[0].partition("=")[2]
    arguments = [part.replace("{files}", volume).replace("out", str(tmp_path / "out")) for part in asked]
    before = sorted(tmp_path.iterdir())
    refused = run(capsys, *arguments, code=2)
    assert said in refused.document_of_error["message"]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", analyses.names())
def test_help_is_the_table_of_parameters(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run_here(capsys, name, "--help")
    assert outcome.code == 0
    text = " ".join(outcome.out)
    for parameter in analyses.get(name).parameters:
        assert parameter.option in text


def test_broken_analysis_breaks_nothing_but_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise AnalysisError(f"the analysis {name} cannot be loaded from elsewhere: no module", "analysis")

    monkeypatch.setattr(analyses, "get", fail)
    app = typer.Typer()
    analysis_command.join(app)
    assert len(app.registered_commands) == len(analyses.names())
    callback = app.registered_commands[0].callback
    assert callback is not None
    with pytest.raises(AnalysisError, match="cannot be loaded"):
        callback()
