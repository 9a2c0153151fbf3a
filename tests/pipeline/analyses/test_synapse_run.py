"""Synapse analyses on made scenes: types, borders, refusals, interruptions; against a plain computation in memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from numba_ops import boxes
from numba_ops.warmup import BOXES, warm_up
from pipeline.analyses.channels import ChannelSet
from pipeline.analyses.classification import relabel_as_original
from pipeline.analyses.result import open_result
from pipeline.blocks import Box
from pipeline.config import settings
from pipeline.errors import AnalysisError, CancelledError, ChannelError, ParameterError, PlanError, StoreError
from pipeline.progress import BlockDone, Event, Progress
from pipeline.volume import open_raw
from tests.outputs import contents
from tests.synapses import check, expect, read, run, scene


@pytest.mark.parametrize(("dtype", "legacy"), [("uint8", False), ("uint16", True), ("uint64", False), ("uint64", True)])
def test_scene(tmp_path: Path, dtype: str, legacy: bool, small_blocks: None) -> None:
    volumes = scene(dtype)
    result = run(volumes, tmp_path / "out", legacy=legacy)
    check(result, expect(volumes, legacy=legacy))
    assert result.objects > 3
    assert result.table["measurable"].any()


def test_warmed_up_it_compiles_nothing_more(tmp_path: Path) -> None:
    warm_up(kernels=BOXES)

    def count() -> dict[str, int]:
        return {name: len(kernel.signatures) for name, kernel in vars(boxes).items() if hasattr(kernel, "signatures")}

    before = count()
    for legacy in (False, True):
        run(scene("uint16"), tmp_path / str(legacy), legacy=legacy)
    assert count() == before


def test_options(tmp_path: Path) -> None:
    volumes = scene(seed=4)
    result = run(volumes, tmp_path / "out", min_size=60, inclusive=True, measure="needed", keep_data=True)
    needed = {name: volumes[name] for name in ("synapsin_a", "PSD95_b")}
    check(result, expect(needed, inclusive=True, min_size=60))
    assert np.array_equal(read(result.folder, "data.zarr"), [volumes["PSD95_b"], volumes["synapsin_a"]])
    assert result.links["data"] == "data.zarr"
    again = open_result(result.folder)
    assert again.parameters["min_size"] == 60
    assert again.table.equals(result.table)


@pytest.mark.parametrize("shape", [(1, 30, 40), (3, 9, 9)])
def test_thin_volumes(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    volumes = scene(shape=shape, seed=2)
    check(run(volumes, tmp_path / "out", min_size=4), expect(volumes, min_size=4))


def test_part_of_a_volume_is_a_volume_at_its_place(tmp_path: Path) -> None:
    volumes = scene()
    part = ChannelSet.of(volumes).cut(Box((0, 2, 3, 4), (1, 20, 38, 44)))
    result = run(part, tmp_path / "out")
    check(result, expect({name: values[2:20, 3:38, 4:44] for name, values in volumes.items()}))
    assert result.origin_zyx == (2, 3, 4)
    assert (result.table["bbox_z_start"] >= 2).all()
    assert (result.table["position_x"] >= 4).all()


def test_nothing_to_find(tmp_path: Path) -> None:
    volumes = scene()
    result = run(volumes, tmp_path / "out", min_size=100_000)
    assert result.objects == 0
    assert len(result.table) == 0
    assert {"id", "z", "y", "x", "size", "measurable", "sum_DAPI"} <= set(result.table)
    assert (result.folder / "report.html").stat().st_size > 1000
    assert not read(result.folder, "detections.zarr").any()


def test_channel_of_one_value_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    volumes = {**scene("uint16"), "PSD95_b": np.full((20, 40, 44), 700, np.uint16)}
    volumes["PSD95_b"][0, 0, 0] = 701  # the same on the scale of 8 bits
    with pytest.raises(ChannelError, match="PSD95_b has the value 2 of 255 everywhere") as caught:
        run(volumes, tmp_path / "out")
    assert caught.value.code == "constant"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["float32", "int16", "bool"])
def test_other_types_are_refused(tmp_path: Path, dtype: str) -> None:
    volumes = {**scene(), "DAPI": np.zeros((20, 40, 44), dtype)}
    with pytest.raises(ChannelError, match=f"channel DAPI is {dtype}; allowed are uint8, uint16, uint32, uint64"):
        run(volumes, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_missing_channels_and_parameters_are_named(tmp_path: Path) -> None:
    volumes = scene()
    with pytest.raises(ChannelError, match=r"no channel whose name contains psd .* there are synapsin_a"):
        run({"synapsin_a": volumes["synapsin_a"]}, tmp_path / "out")
    with pytest.raises(ParameterError, match=r"no such parameter.*did you mean legacy") as caught:
        run(volumes, tmp_path / "out", legazy=True, min_size=0)
    assert set(caught.value.reasons) == {"legazy", "min_size"}
    with pytest.raises(ParameterError, match="voxelforest models import"):
        run(volumes, tmp_path / "out", "nomads-classifier")
    with pytest.raises(PlanError, match="no scheduler 'cloud'"):
        run(volumes, tmp_path / "out", scheduler="cloud")
    assert list(tmp_path.iterdir()) == []


def test_results_are_reused_and_not_replaced_by_accident(tmp_path: Path) -> None:
    volumes, out = scene(), tmp_path / "out"
    first = run(volumes, out)
    before = contents(out)
    again = run(volumes, out, mode="resume")
    assert again.reused
    assert not first.reused
    assert contents(out) == before
    with pytest.raises(StoreError, match="exists; choose another folder, or --overwrite it"):
        run(volumes, out)
    with pytest.raises(StoreError, match="holds results of other data or parameters"):
        run(volumes, out, mode="resume", min_size=40)
    changed = run(volumes, out, mode="overwrite", min_size=40)
    check(changed, expect(volumes, min_size=40))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_no_result_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years")
    with pytest.raises(StoreError, match="holds something else than results"):
        run(scene(), tmp_path / "out", mode="overwrite")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years"


class _Stop:
    """Ends a run after so many blocks."""

    def __init__(self, blocks: int) -> None:
        self.left = blocks

    def tell(self, event: Event) -> None:
        self.left -= isinstance(event, BlockDone)

    def __call__(self) -> bool:
        return self.left <= 0


@pytest.mark.parametrize("blocks", [3, 20, 45])
def test_interrupted_anywhere_it_ends_with_the_same_bytes(tmp_path: Path, blocks: int, small_blocks: None) -> None:
    volumes = scene(seed=6)
    undisturbed = contents(run(volumes, tmp_path / "whole").folder)
    stop = _Stop(blocks)
    with pytest.raises(CancelledError):
        run(volumes, tmp_path / "out", mode="resume", progress=Progress(stop.tell), cancelled=stop)
    assert not (tmp_path / "out").exists()
    with pytest.raises(StoreError, match="left from an unfinished run; --resume goes on"):
        run(volumes, tmp_path / "out")
    with pytest.raises(StoreError, match="begun with other data or parameters"):
        run(volumes, tmp_path / "out", mode="resume", min_size=50)
    assert contents(run(volumes, tmp_path / "out", mode="resume").folder) == undisturbed


def test_processes_give_the_same_bytes_as_threads(tmp_path: Path, small_blocks: None) -> None:
    paths = {}
    for name, values in scene().items():
        np.save(tmp_path / f"{name}.npy", values)
        paths[name] = tmp_path / f"{name}.npy"
    volumes = {name: open_raw(path, axes="zyx") for name, path in paths.items()}
    threads = run(volumes, tmp_path / "threads")
    processes = run(volumes, tmp_path / "processes", scheduler="local")
    assert contents(threads.folder) == contents(processes.folder)
    check(threads, expect(scene()))


def test_without_a_folder_results_lie_with_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXELFOREST_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    first, second = run(scene(), None), run(scene(), None)
    assert first.folder == second.folder
    assert second.reused
    assert first.folder.is_relative_to(tmp_path / "data")


def test_legacy_says_where_the_original_failed() -> None:
    with pytest.raises(AnalysisError, match="the original fails on that"):
        relabel_as_original(np.array([2]))


def test_provenance_holds_what_decided(tmp_path: Path) -> None:
    result = run(scene(), tmp_path / "out")
    said = json.loads((result.folder / "provenance.json").read_text())
    assert said["detection"]["channels"] == ["PSD95_b", "synapsin_a"]
    assert said["parameters"]["min_size"] == 31
    assert said["objects"] == result.objects
    assert set(said["channel_digests"]) == set(scene())
