"""Whole runs: ilastik's values in every kind of output, whatever computes them."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorstore
import zarr
from ome_zarr_models.v04.image import Image as Image04
from ome_zarr_models.v05.image import Image as Image05

from pipeline.axes import reorder
from pipeline.plan import Plan
from pipeline.progress import BlockDone, Event, Note, Progress, StageStarted
from pipeline.region import parse_region
from pipeline.run import make_plan, run
from pipeline.volume import open_raw
from tests.outputs import contents
from tests.runs import GOLDEN, make_request, run_quietly, wait_for_schedulers

LOOPBACK = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture(scope="module")
def probabilities(golden_dir: Path) -> dict[str, Any]:
    return dict(np.load(golden_dir / "probabilities.npz"))


def read_zarr(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(zarr.open_array(path, mode="r")[...])


@pytest.mark.parametrize("project", [name for name in GOLDEN if name != "ac_2d"])
def test_files_hold_ilastiks_probabilities_in_the_order_of_the_input(
    golden_dir: Path, tmp_path: Path, probabilities: dict[str, Any], project: str
) -> None:
    request = make_request(golden_dir, tmp_path / "out.h5", project)
    run_quietly(request)
    order = request.volume.source_axes.replace("c", "") + "c"
    expected = reorder(probabilities[f"prob_{project}"], GOLDEN[project][1] + "c", order)
    with h5py.File(tmp_path / "out.h5") as file:
        data = file["exported_data"]
        assert [axis["key"] for axis in json.loads(data.attrs["axistags"])["axes"]] == list(order)
        assert np.array_equal(data[...], expected)


@pytest.mark.parametrize("stage", [1, 2])
def test_npy_holds_the_probabilities_of_either_stage(
    golden_dir: Path, tmp_path: Path, probabilities: dict[str, Any], stage: int
) -> None:
    run_quietly(make_request(golden_dir, tmp_path / "out.npy", "ac_2d", stage=stage))
    assert np.array_equal(np.load(tmp_path / "out.npy"), probabilities[f"prob_ac_2d_stage{stage}"])


@pytest.mark.parametrize(("version", "model", "driver"), [("0.5", Image05, "zarr3"), ("0.4", Image04, "zarr")])
def test_zarr_is_what_ome_models_and_other_libraries_read(
    golden_dir: Path, tmp_path: Path, probabilities: dict[str, Any], version: Any, model: Any, driver: str
) -> None:
    path = tmp_path / "out.zarr"
    run_quietly(make_request(golden_dir, path, "pc_t_3d", ome_version=version))
    expected = reorder(probabilities["prob_pc_t_3d"], "tzyxc", "tczyx")
    model.from_zarr(zarr.open_group(path, mode="r"))
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path / '0'}/"}}
    assert np.array_equal(read_zarr(path / "0"), expected)
    assert np.array_equal(np.asarray(tensorstore.open(spec, read=True).result().read().result()), expected)
    assert np.array_equal(open_raw(path)[...], expected)


def test_several_outputs_of_a_region_come_from_one_pass(
    golden_dir: Path, tmp_path: Path, probabilities: dict[str, Any]
) -> None:
    request = make_request(golden_dir, tmp_path / "out.zarr", dtype="uint8")
    region = parse_region("z=5:30,x=9:10", request.volume.whole, "zyx")
    names = ("probabilities", "segmentation", "uncertainty", "features")
    summary = run_quietly(replace(request, region=region, outputs=names))
    expected = reorder(probabilities["prob_pc_3d"], "zyxc", "czyx")[:, 5:30, :, 9:10]
    found = {name: read_zarr(tmp_path / "out.zarr" / name / "0") for name in names}
    assert summary.voxels == expected[0].size
    assert np.array_equal(found["probabilities"], np.rint(expected * np.float32(255)))
    assert np.array_equal(found["segmentation"], expected.argmax(axis=0) + 1)
    second, first = np.sort(expected, axis=0)[-2:]
    assert np.array_equal(found["uncertainty"], np.rint((1 - (first - second)) * np.float32(255)))
    features = request.project.stages[0].features.names(1, 37)
    assert found["features"].shape == (len(features), *expected.shape[1:])
    group = zarr.open_group(tmp_path / "out.zarr" / "segmentation", mode="r")
    Image05.from_zarr(group)


def test_segmentation_in_a_file_has_a_channel_axis_as_ilastik_exports_it(
    golden_dir: Path, tmp_path: Path, probabilities: dict[str, Any]
) -> None:
    run_quietly(make_request(golden_dir, tmp_path / "out.h5", "pc_2d3c", outputs=("segmentation",)))
    with h5py.File(tmp_path / "out.h5") as file:
        expected = probabilities["prob_pc_2d3c"].argmax(axis=-1)[..., None] + 1
        assert np.array_equal(file["exported_data"][...], expected)


@pytest.mark.parametrize("scheduler", ["local", "tcp"])
def test_other_schedulers_give_the_same_bytes(
    golden_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    wait_for_schedulers(monkeypatch, seconds=60)  # the workers that are started below take a while
    for name in ("threads", "other"):
        (tmp_path / name).mkdir()
    run_quietly(make_request(golden_dir, tmp_path / "threads" / "out.zarr"))
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(running_scheduler(tmp_path)) if scheduler == "tcp" else scheduler
        request = make_request(golden_dir, tmp_path / "other" / "out.zarr", scheduler=where, workers=1)
        assert run_quietly(request).computed_blocks == 27
        if scheduler == "tcp":  # to another output, where the scheduler may still know the tasks of the first
            run_quietly(replace(request, path=tmp_path / "other" / "again.npy"))
    assert contents(tmp_path / "threads" / "out.zarr") == contents(tmp_path / "other" / "out.zarr")


@contextlib.contextmanager
def running_scheduler(folder: Path) -> Iterator[str]:
    """A Dask scheduler and a worker, processes of their own as on a cluster."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "dask"]
    commands = [[*dask, "scheduler", "--port", port, *LOOPBACK], [*dask, "worker", address, "--no-nanny", *LOOPBACK]]
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "dask.log").open("w"))
        for command in commands:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
        wait_until_listening(port)
        yield address


def wait_until_listening(port: str) -> None:
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", int(port)), 30):
            return


def test_progress_tells_the_intention_then_every_block(golden_dir: Path, tmp_path: Path) -> None:
    told: list[Event] = []
    run(make_request(golden_dir, tmp_path / "out.zarr"), Progress(told.append))
    note = next(event for event in told if isinstance(event, Note) and "blocks of" in event.text)
    assert note.text.startswith("probabilities of 56,240 voxels: blocks of 16x16x16, 27 in all, on ")
    stages = [event for event in told if isinstance(event, StageStarted)]
    assert [(event.name, event.voxels) for event in stages] == [("predict", 56240), ("pyramid", 0)]
    done = [event for event in told if isinstance(event, BlockDone) and event.name == "predict"]
    assert [event.blocks_done for event in done] == list(range(1, 28))
    assert done[-1].voxels_done == 56240


def test_plan_of_a_request_is_the_one_that_runs(golden_dir: Path, tmp_path: Path) -> None:
    plan: Plan = make_plan(make_request(golden_dir, tmp_path / "out.zarr"))
    assert plan.n_tasks == 27
