"""Who reaches a scheduler: the client alone, at the address that machines see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("botocore")
pytest.importorskip("moto.server")

from pipeline.config import settings
from pipeline.ec2.account import Account
from pipeline.ec2.configuration import Configuration, read_configuration
from pipeline.ec2.network import Subnet, client_network, find_subnet, make_group
from pipeline.ec2.sweep import find_groups
from pipeline.ec2.tags import new_cluster_id
from pipeline.errors import ClusterError
from tests.machines import NETWORK, Machines, machines
from tests.pipeline.formats.servers import http_server


@pytest.fixture(scope="module")
def ec2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines(tmp_path_factory.mktemp("ec2")) as found:
        yield found


@pytest.fixture
def account(ec2: Machines) -> Iterator[Account]:
    found = Account()
    yield found
    found.close()


def test_group_lets_in_the_client_and_its_own(account: Account, ec2: Machines) -> None:
    subnet = find_subnet(account, read_configuration().subnet)
    assert subnet.network == NETWORK
    name = new_cluster_id()
    group = make_group(account, name, subnet, "203.0.113.7/32", {"voxelforest-cluster": name, "owner": "ada"})
    (found,) = account.call("describe_security_groups", GroupIds=[group])["SecurityGroups"]
    inside, client = sorted(found["IpPermissions"], key=lambda rule: rule["FromPort"])
    assert [pair["GroupId"] for pair in inside["UserIdGroupPairs"]] == [group]
    assert inside["IpRanges"] == []
    assert (client["FromPort"], client["ToPort"]) == (8786, 8786)
    assert [row["CidrIp"] for row in client["IpRanges"]] == ["203.0.113.7/32"]
    assert "0.0.0.0/0" not in str(found["IpPermissions"])
    assert [row.cluster for row in find_groups(account, name)] == [name]
    account.call("delete_security_group", GroupId=group)


def test_default_network_is_found_and_told_from_none(account: Account) -> None:
    assert find_subnet(account, None).network.startswith("172.31.")


def ours(**changes: Any) -> Configuration:
    return replace(read_configuration(), **changes)


def test_client_inside_the_network_has_its_own_address(ec2: Machines) -> None:
    assert client_network(ours(), Subnet("s", "v", NETWORK)) == "127.0.0.1/32"
    assert client_network(ours(client="10.0.0.0/8"), Subnet("s", "v", NETWORK)) == "10.0.0.0/8"


def test_client_outside_asks_for_its_address(ec2: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "address").write_text("203.0.113.9\n")
    (tmp_path / "nonsense").write_text("<html>")
    with http_server(tmp_path) as (url, _):
        monkeypatch.setenv("VOXELFOREST_EC2_ADDRESS_SERVICE", f"{url}/address")
        settings.cache_clear()
        assert client_network(ours(private=False), Subnet("s", "v", NETWORK)) == "203.0.113.9/32"
        for name in ("nonsense", "absent"):
            monkeypatch.setenv("VOXELFOREST_EC2_ADDRESS_SERVICE", f"{url}/{name}")
            settings.cache_clear()
            with pytest.raises(ClusterError, match="set VOXELFOREST_EC2_CLIENT"):
                client_network(ours(private=False), Subnet("s", "v", NETWORK))
    settings.cache_clear()
