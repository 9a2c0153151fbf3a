"""What the doctor sees."""

from __future__ import annotations

import importlib.metadata
import json

import numpy as np
import pytest

from pipeline.diagnosis import FOR_DEVELOPERS, PURPOSES, diagnose
from pipeline.errors import ClusterError, PlanError


def test_document_is_plain_json_about_this_machine() -> None:
    _, document = diagnose()
    assert json.loads(json.dumps(document)) == document
    assert document["packages"]["numpy"] == np.__version__
    assert document["cores"] >= 1
    assert 0 < document["memory_free_bytes"] <= document["memory_bytes"]
    assert document["disk_free_bytes"] > 0


def test_every_extra_is_for_developers_or_says_what_for() -> None:
    extras = importlib.metadata.metadata("voxelforest").get_all("Provides-Extra") or []
    assert set(extras) == {*FOR_DEVELOPERS, *PURPOSES}


def test_a_scheduler_is_asked() -> None:
    sections, document = diagnose("threads")
    assert document["scheduler"]["workers"] == 1
    assert json.loads(json.dumps(document)) == document
    assert sections[-1].title == "Scheduler threads"


@pytest.mark.parametrize(("name", "error"), [("thread", PlanError), ("tcp://127.0.0.1:9", ClusterError)])
def test_a_scheduler_that_is_not_there_is_named(name: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        diagnose(name)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> str:
        if name in ("intern", "zarr"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("pipeline.diagnosis.importlib.metadata.version", find)
    sections, document = diagnose()
    assert document["packages"]["zarr"] == "missing"
    assert document["missing_by_extra"]["boss"] == ["intern"]
    assert document["missing_by_extra"]["viewer"] == []
    assert not set(FOR_DEVELOPERS) & set(document["missing_by_extra"])
    rows = {row[0]: row[1] for section in sections for row in section.rows}
    assert rows["boss"] == "missing: intern; pip install 'voxelforest[boss]'"
    assert rows["viewer"] == "installed"
