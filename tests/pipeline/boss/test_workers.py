"""Worker processes read volumes of the archive with a token that is never sent to them with the work."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pipeline.boss import BossArchive
from pipeline.cluster import connect
from pipeline.errors import TokenError
from pipeline.volume import Volume
from tests.archive_contents import Archive

SECRET = "s3cr3tTokenThatNobodySees"


def _sum(volume: Volume, number: int) -> tuple[int, int]:
    return os.getpid(), int(volume[number].sum())


def _held(volume: Volume) -> str:
    """All that a worker holds of a volume, as text."""
    return repr(vars(volume.source))


def test_worker_processes_ask_for_the_token(archive: Archive) -> None:
    archive.tokens = {SECRET: "r"}  # that of the environment is not good for anything here
    data: Any = {name: archive.places["col", "exp"].channels[name].data for name in ("PSD95", "Synapsin", "DAPI")}
    opened = BossArchive(token=SECRET)
    first, second, third = (opened.open("col", "exp", channels=[name])[name] for name in data)
    with connect("local", 1) as client:
        process, found = client.submit(_sum, first, 3).result()
        assert process != os.getpid()
        assert found == data["PSD95"][3].sum()
        assert SECRET not in client.submit(_held, first).result()
        client.restart()  # a worker that died is started anew, and asks again
        other, found = client.submit(_sum, second, 3).result()
        assert other != process
        assert found == data["Synapsin"][3].sum()
        opened.close()
        with pytest.raises(TokenError, match="is wrong or has expired") as caught:
            client.submit(_sum, third, 3).result()
    assert SECRET not in str(caught.value)
