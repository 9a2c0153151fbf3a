"""``voxelforest cluster``: what it prints, and that machines end by themselves where nobody ends them."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("dask_cloudprovider")
pytest.importorskip("moto.server")

from pipeline.cluster import connect
from pipeline.config import settings
from pipeline.errors import ClusterError
from tests.commands import finish, follow, run_here, start
from tests.machines import Machines, machines, until


@pytest.fixture(scope="module")
def ec2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines(tmp_path_factory.mktemp("ec2")) as found:
        yield found


def started(run: subprocess.Popen[str]) -> dict[str, object]:
    """What ``cluster up --json`` says once it is up."""
    assert run.stdout is not None
    line = run.stdout.readline()
    assert line, finish(run).err
    document: dict[str, object] = json.loads(line)
    return document


def test_cluster_is_used_by_its_address_and_ends_with_ctrl_c(
    ec2: Machines, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = start("cluster", "up", "--workers", "1", "--logfile", tmp_path / "log", "--json")
    document = started(run)
    environment = document["environment"]
    assert isinstance(environment, dict)
    files = [Path(path) for path in environment.values()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    with connect(str(document["scheduler"]), 1) as client:
        assert client.submit(sum, [1, 2]).result() == 3
    monkeypatch.delenv("VOXELFOREST_TLS_KEY")
    settings.cache_clear()
    with pytest.raises(ClusterError, match="VOXELFOREST_TLS_KEY is missing"), connect(str(document["scheduler"])):
        pass
    settings.cache_clear()
    listed = run_here(capsys, "cluster", "status", "--json")
    rows = json.loads("\n".join(listed.out))["machines"]
    assert sorted(row["role"] for row in rows) == ["scheduler", "worker"]
    assert {row["cluster"] for row in rows} == {document["cluster"]}
    shown = run_here(capsys, "cluster", "status")
    assert shown.code == 0
    assert "2 machines, $0.0" in shown.out[0]
    os.killpg(run.pid, signal.SIGINT)
    outcome = finish(run)
    assert outcome.code == 0, outcome.err
    assert (ec2.alive(), ec2.groups()) == ([], [])
    assert not any(path.exists() for path in files)
    assert "== worker" in (tmp_path / "log").read_text()


def test_idle_cluster_ends_by_itself(ec2: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXELFOREST_EC2_IDLE_SECONDS", "6")
    outcome = finish(start("cluster", "up", "--json"))
    assert outcome.code == 1
    assert "its scheduler has stopped" in outcome.document_of_error["message"]
    assert "idle for 6 s" in outcome.document_of_error["message"]
    assert (ec2.alive(), ec2.groups()) == ([], [])


def test_money_that_is_spent_ends_the_machines_though_their_client_is_dead(
    ec2: Machines, capsys: pytest.CaptureFixture[str]
) -> None:
    ec2.minute = 1.5
    try:
        run = start("cluster", "up", "--workers", "1", "--max-cost", "0.02", "--json")
        notes = [told["text"] for told in follow_until_up(run)]
        assert "all is switched off after 5 min, $0.02 at most" in " ".join(notes)
        run.kill()
        finish(run)
        until(lambda: ec2.alive() == [])
    finally:
        ec2.minute = 60.0
    assert ec2.groups() != []
    outcome = run_here(capsys, "cluster", "down", "--json")
    assert (outcome.code, len(outcome.document["clusters"]), outcome.document["terminated"]) == (0, 1, [])
    assert ec2.groups() == []


def follow_until_up(run: subprocess.Popen[str]) -> Iterator[dict[str, str]]:
    for told in follow(run):
        yield told
        if "waiting for the first" in told["text"]:
            return


def test_orphans_of_a_dead_client_end_when_the_next_cluster_starts(
    ec2: Machines, capsys: pytest.CaptureFixture[str]
) -> None:
    ec2.boots = False
    run = start("cluster", "up", "--json")
    until(lambda: len(ec2.alive()) == 1)
    run.kill()
    finish(run)
    orphan = ec2.alive()[0].id
    again = start("cluster", "up", "--json")
    notes = []
    for told in follow(again):
        notes.append(told["text"])
        if "starting the scheduler" in told["text"]:
            break
    until(lambda: len(ec2.alive()) == 1)
    os.killpg(again.pid, signal.SIGINT)
    assert finish(again).code == 130
    ec2.boots = True
    assert f"ec2: 1 machines were left over and are terminated: {orphan}" in notes
    assert (ec2.alive(), ec2.groups()) == ([], [])
    assert run_here(capsys, "cluster", "down").out == ["nothing is rented"]


def test_policy_allows_what_is_done_and_nothing_for_all(
    ec2: Machines, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXELFOREST_EC2_PROFILE", "volumes")
    settings.cache_clear()
    document = json.loads("\n".join(run_here(capsys, "cluster", "policy").out))
    settings.cache_clear()
    allowed = {action for statement in document["Statement"] for action in statement["Action"]}
    done = {f"ec2:{name}" for name in ec2.faults.seen if name[0].isupper()} - {"ec2:CreateVpc", "ec2:CreateSubnet"}
    assert done <= allowed
    assert allowed - done <= {"iam:PassRole", "ec2:GetConsoleOutput"}
    for statement in document["Statement"]:
        looking = all(action.startswith("ec2:Describe") for action in statement["Action"])
        assert looking or "*" not in statement["Resource"], statement
    buckets = json.loads("\n".join(run_here(capsys, "cluster", "policy", "--bucket", "scans").out))
    assert buckets["Statement"][0]["Resource"] == ["arn:aws:s3:::scans/*"]


def test_machines_of_others_are_left_alone(
    ec2: Machines, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    from pipeline.ec2.tags import as_list, make_tags

    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    ec2.boots = False
    for tags in (make_tags("theirs", "somebody@else", "voxelforest", soon), {"Name": "nothing of ours"}):
        boto3.client("ec2").run_instances(
            ImageId=os.environ["VOXELFOREST_EC2_IMAGE"],
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": as_list(tags)}],
        )
    assert run_here(capsys, "cluster", "down").out == ["nothing is rented"]
    assert len(ec2.alive()) == 2
    outcome = run_here(capsys, "cluster", "down", "theirs", "--json")
    assert len(outcome.document["terminated"]) == 1
    (other,) = ec2.alive()
    ec2.end(other)
    ec2.boots = True
