"""What the doctor sees."""

from __future__ import annotations

import importlib.metadata
import json

import numpy as np
import pytest

from pipeline.diagnosis import FOR_DEVELOPERS, diagnose


def test_document_is_plain_json_about_this_machine() -> None:
    _, document = diagnose()
    assert json.loads(json.dumps(document)) == document
    assert document["packages"]["numpy"] == np.__version__
    assert document["cores"] >= 1
    assert 0 < document["memory_free_bytes"] <= document["memory_bytes"]


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
