"""Versions of both sides, and the words for what differs."""

from __future__ import annotations

from pipeline.clusters.versions import MUST_MATCH, version_differences


def _side(**versions: str) -> dict[str, dict[str, str]]:
    return {"packages": {"python": "3.11.7.final.0", **dict.fromkeys(MUST_MATCH, "1.0"), **versions}}


def test_same_versions_do_not_differ() -> None:
    versions = {
        "client": _side(),
        "scheduler": _side(),
        "workers": {"a": _side(python="3.11.9.final.0"), "b": _side(tornado="9")},
    }
    assert version_differences(versions) == []


def test_differences_name_package_and_both_sides() -> None:
    workers = {"a": _side(numba="0.9"), "b": _side(numba="0.8", python="3.12.1.final.0")}
    found = version_differences({"client": _side(), "scheduler": _side(dask="2"), "workers": workers})
    assert found == ["dask 2 there, 1.0 here", "numba 0.8, 0.9 there, 1.0 here", "Python 3.12 there, 3.11 here"]
