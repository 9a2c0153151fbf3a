"""Keys that a bucket refuses, with a server that checks signatures and permissions: one line, before any work."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

import botocore.session
import moto.settings
import zarr

from tests.commands import finish, start
from tests.pipeline.formats.servers import volumes_bucket

EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def keys() -> Iterator[Mapping[str, tuple[str, str]]]:
    """A volume in a bucket, and keys of a user who may do everything and of one who may do nothing."""
    with volumes_bucket(), pytest.MonkeyPatch.context() as patch:
        zarr.create_array("s3://volumes/guarded.zarr", data=np.zeros((20, 20, 20), "u1"), overwrite=True)
        made = {name: _make_user(name) for name in ("able", "poor")}
        patch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)  # from now on all requests are checked
        yield {**made, "wrong": (made["able"][0], "not the secret"), "unknown": ("AKIAUNKNOWN", "secret")}


def _make_user(name: str) -> tuple[str, str]:
    iam = botocore.session.get_session().create_client("iam", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    if name == "able":
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
    iam.close()
    return key["AccessKeyId"], key["SecretAccessKey"]


@pytest.mark.parametrize(
    ("user", "direction", "reason"),
    [
        ("able", "in", ""),
        ("poor", "out", "Access Denied"),
        ("wrong", "in", "signature we calculated does not match"),
        ("wrong", "out", "signature we calculated does not match"),
        ("unknown", "in", "Access Key Id you provided does not exist"),
    ],
)
def test_refused_keys_are_one_line(
    keys: Mapping[str, tuple[str, str]],
    golden_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    direction: str,
    reason: str,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys[user][0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys[user][1])
    raw: Path | str = "s3://volumes/guarded.zarr" if direction == "in" else golden_dir / "in_3d_u8.npy"
    out: Path | str = tmp_path / "out.zarr" if direction == "in" else "s3://volumes/out.zarr"
    outcome = finish(start("predict", golden_dir / "projects" / "pc_3d.ilp", raw, out, "--axes", "zyx"))
    assert outcome.code == (2 if reason else 0), outcome.err
    assert keys[user][1] not in "\n".join(outcome.err)
    if reason:
        assert "access is denied; check the credentials" in outcome.err[-1]
        assert reason in outcome.err[-1]
        assert not any(line.startswith("Traceback") for line in outcome.err)
        assert not (tmp_path / "out.zarr").exists()
