"""Clusters that are started and ended by what uses them; EC2 is moto's, and its machines are processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zarr

pytest.importorskip("dask_cloudprovider")
pytest.importorskip("moto.server")

import boto3
import numpy as np

from pipeline.bucket import bucket
from pipeline.cli import run_command
from pipeline.cluster import connect
from pipeline.clusters.terms import Terms
from pipeline.clusters.workers import Workers
from pipeline.config import settings
from pipeline.ec2.session import rented_cluster
from pipeline.errors import ClusterError, PipelineError
from tests.commands import SMALL_BLOCKS, finish, follow, run_here, start
from tests.machines import NEIGHBOURS, REGION, Machines, machines, until
from tests.outputs import contents


@pytest.fixture(scope="module")
def ec2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines(tmp_path_factory.mktemp("ec2")) as found:
        yield found
        bucket.cache_clear()


@pytest.fixture(autouse=True)
def _nothing_is_left(ec2: Machines) -> Iterator[None]:
    """After every test: no machine that costs, no security group, whatever the test did."""
    ec2.faults.seen.clear()
    yield
    ec2.faults.throttle, ec2.boots = 0, True
    ec2.faults.refused.clear()
    settings.cache_clear()
    assert ec2.alive() == []
    assert ec2.groups() == []


@pytest.fixture(scope="module")
def raw(ec2: Machines, golden_dir: Path) -> str:
    """The golden volume in a bucket."""
    boto3.client("s3").create_bucket(Bucket="scans", CreateBucketConfiguration={"LocationConstraint": REGION})
    values = np.load(golden_dir / "in_3d_u8.npy")
    array = zarr.create_array("s3://scans/raw.zarr", shape=values.shape, dtype=values.dtype, chunks=(16, 16, 16))
    array[:] = values
    return "s3://scans/raw.zarr"


def test_prediction_has_the_bytes_of_any_other_though_a_machine_is_lost_and_calls_are_throttled(
    ec2: Machines, raw: str, golden_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ["predict", str(golden_dir / "projects" / "pc_3d.ilp"), raw]
    for name, value in SMALL_BLOCKS.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    assert run_command([*job, str(tmp_path / "out.zarr"), "--axes", "zyx"]) == 0
    settings.cache_clear()
    ec2.faults.throttle = 5
    log = tmp_path / "run.log"
    options = ["--axes", "zyx", "--scheduler", "ec2", "--workers", "2", "--logfile", log, "--json"]
    run = start(*job, "s3://scans/out.zarr", *options)
    told = []
    for event in follow(run):
        told.append(event)
        if event["event"] == "BlockDone":
            ec2.end(ec2.of_role("worker")[0])
            break
    outcome = finish(run)
    assert outcome.code == 0, outcome.err
    prefix = "out.zarr/"
    found = {key.removeprefix(prefix): bucket("scans").get(key) for key in bucket("scans").keys(prefix)}
    assert found == contents(tmp_path / "out.zarr")
    assert ec2.faults.seen["throttled"] > 3
    notes = " ".join(event.get("text", "") for event in told)
    assert "a scheduler and 2 workers of 2 threads, at most $0.3" in notes
    assert "the work takes about" in notes
    assert "machines are terminated; together they cost" in " ".join(outcome.err)
    text = log.read_text()
    assert "== scheduler" in text
    assert f"== worker tls://{NEIGHBOURS}.77." in text


def test_lost_and_absent_workers_are_replaced_and_spare_ones_let_go_with_their_results(ec2: Machines) -> None:
    with rented_cluster(Workers(2, 2), Terms()) as rented:
        rented.client.wait_for_workers(2, timeout=60)
        before = set(rented.client.nthreads())
        ec2.end(ec2.of_role("worker")[0])
        until(lambda: len(set(rented.client.nthreads()) - before) == 1 and len(rented.client.nthreads()) == 2)
        assert len(ec2.of_role("worker")) == 2
        runs = rented.client.map(count_run, range(20), pure=False)
        assert rented.client.gather(runs) == list(range(20))
        cluster = rented.upkeep._cluster
        rented.upkeep._workers = Workers(1, 1)
        cluster.loop.add_callback(cluster.scale, 1)
        until(lambda: len(ec2.of_role("worker")) == 1)
        assert rented.client.gather(runs) == list(range(20))
        assert all(future.status == "finished" for future in runs)
        assert sum(rented.client.run(lambda: len(_runs)).values()) < 20, "moved, not computed again"
        user_data = [ec2.user_data[machine.id] for machine in ec2.listed("running")]
        assert all(len(text) < 4000 for text in user_data)
        assert not any("hush" in text or "AWS_SECRET" in text for text in user_data)


_runs: list[int] = []


def count_run(number: int) -> int:
    _runs.append(number)
    return number


def test_machines_come_with_the_work_and_go_without_it(ec2: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXELFOREST_EC2_SPARE_SECONDS", "1")
    settings.cache_clear()
    with connect("ec2", Workers(0, 2)) as client:
        assert ec2.of_role("worker") == []
        assert client.gather(client.map(time.sleep, [0.3] * 8, pure=False)) == [None] * 8
        until(lambda: ec2.of_role("worker") == [])
    settings.cache_clear()
    assert client.status == "closed"


def test_interruption_while_the_scheduler_starts_leaves_nothing(ec2: Machines, golden_dir: Path, raw: str) -> None:
    ec2.boots = False
    project = golden_dir / "projects" / "pc_3d.ilp"
    run = start("predict", project, raw, "s3://scans/never.zarr", "--axes", "zyx", "--scheduler", "ec2", "--json")
    until(lambda: len(ec2.alive()) == 1 or run.poll() is not None)
    run.send_signal(signal.SIGINT)
    outcome = finish(run)
    assert outcome.code == 130, outcome.err
    assert all(line.startswith('{"event"') for line in outcome.err), outcome.err


def test_interruption_while_workers_start_leaves_nothing(ec2: Machines, golden_dir: Path, raw: str) -> None:
    project = golden_dir / "projects" / "pc_3d.ilp"
    options = ["--axes", "zyx", "--scheduler", "ec2", "--workers", "2", "--json"]
    run = start("predict", project, raw, "s3://scans/neither.zarr", *options)
    until(lambda: len(ec2.of_role("worker")) == 2 or run.poll() is not None)
    run.send_signal(signal.SIGTERM)
    assert finish(run).code == 130


def test_no_capacity_is_one_line_and_costs_no_more(ec2: Machines) -> None:
    ec2.faults.refused["RunInstances"] = ("InsufficientInstanceCapacity", is_worker)
    with pytest.raises(ClusterError, match="EC2 refused run_instances: told by the test") as caught, connect("ec2", 2):
        pass
    assert caught.value.code == "InsufficientInstanceCapacity"


def is_worker(asked: dict[str, list[str]]) -> bool:
    return ["worker"] in asked.values()


def test_capacity_that_comes_late_is_taken(ec2: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ec2.machine_cluster.FIRST_BACKOFF", 0.5)
    some = iter([False, True])
    ec2.faults.refused["RunInstances"] = ("InsufficientInstanceCapacity", lambda a: is_worker(a) and next(some, False))
    with connect("ec2", 2) as client:
        client.wait_for_workers(2, timeout=60)
        assert ec2.faults.seen["refused"] == 1


def test_scheduler_that_does_not_start_is_told_with_its_console(ec2: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXELFOREST_EC2_START_SECONDS", "2")
    settings.cache_clear()
    ec2.boots = False
    with (
        pytest.raises(ClusterError, match=r"does not answer after [0-9]+ s; its console says: .*Enabling"),
        connect("ec2"),
    ):
        pass
    settings.cache_clear()


def test_other_versions_are_found_before_workers_are_rented(ec2: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.clusters.versions.version_differences", lambda versions: ["numba 1 there, 2 here"])
    with pytest.raises(ClusterError, match="numba 1 there, 2 here") as caught, connect("ec2", 2):
        pass
    assert caught.value.code == "versions"
    assert ec2.faults.seen["RunInstances"] == 1


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"EC2_IMAGE": ""}, "VOXELFOREST_EC2_IMAGE is not set, which ec2 needs"),
        ({"EC2_IMAGE": "ami-0123456789abcdef0"}, "is not in the region eu-west-1"),
        ({"EC2_CONTAINER": "example/voxelforest"}, "is not pinned"),
        ({"EC2_WORKER_TYPE": "c6i.tiny"}, "What c6i.tiny costs in eu-west-1 is not known"),
        ({"EC2_WORKER_TYPE": "c99.large", "EC2_PRICES": "c99.large=1"}, "no machines of the type c99.large"),
        ({"EC2_WORKER_TYPE": "t3.micro"}, "too little for one task"),
        ({"EC2_SUBNET": "subnet-00000000"}, "refused describe_subnets"),
        ({"EC2_WORKERS": "1"}, "2 workers, but at most 1 are allowed"),
    ],
)
def test_what_cannot_be_is_told_before_anything_costs(
    ec2: Machines, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"VOXELFOREST_{name}", value)
    settings.cache_clear()
    with pytest.raises(PipelineError, match=words) as caught, connect("ec2", 2):
        pass
    settings.cache_clear()
    assert "\n" not in caught.value.message
    assert ec2.faults.seen["RunInstances"] == 0


@pytest.mark.parametrize(
    ("data", "out"),
    [("s3://scans/denied/raw.zarr", "s3://scans/out.zarr"), ("s3://scans/raw.zarr", "s3://scans/denied/out.zarr")],
    ids=["input", "output"],
)
def test_bucket_that_denies_is_one_line_before_anything_costs(
    ec2: Machines, raw: str, golden_dir: Path, capsys: pytest.CaptureFixture[str], data: str, out: str
) -> None:
    project = str(golden_dir / "projects" / "pc_3d.ilp")
    outcome = run_here(capsys, "predict", project, data, out, "--axes", "zyx", "--scheduler", "ec2", "--workers", "2")
    assert outcome.code == 2
    assert "access is denied; check the credentials" in outcome.err[-1]
    assert ec2.faults.seen["RunInstances"] == 0
    assert not {"CreateSecurityGroup", "RunInstances"} & set(ec2.faults.seen)


def test_money_that_does_not_last_until_the_first_worker_is_refused(ec2: Machines) -> None:
    with pytest.raises(PipelineError, match=r"--max-cost 0.01 pays for .* allow at least 0.03"):
        connect("ec2", 2, Terms(max_cost=0.01)).__enter__()
    assert ec2.faults.seen["RunInstances"] == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [("AWS_ACCESS_KEY_ID", "No credentials for EC2 found"), ("AWS_DEFAULT_REGION", "No region of EC2 is set")],
)
def test_account_that_is_not_set_up_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, words: str) -> None:
    monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(ClusterError, match=words), connect("ec2"):
        pass


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PipelineError, match=r"pip install 'voxelforest\[cloud\]'"), connect("ec2"):
        pass
