"""Zarr behind web servers and S3: real servers on this machine, failing calls, missing buckets, denied keys."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from pipeline.config import settings
from pipeline.errors import ReadError, VolumeError
from pipeline.formats import open_source, retry
from pipeline.formats.handles import close_handles
from tests.pipeline.formats.contract import make_array, read_whole
from tests.pipeline.formats.servers import Faults, http_server, volumes_bucket

ARRAY = make_array((30, 37, 41), "u2")
CHUNKS = (16, 16, 16)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Quick retries; no connection of an earlier server is used again."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    yield
    close_handles()


@pytest.mark.parametrize("version", [2, 3])
def test_http(tmp_path: Path, version: Any) -> None:
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=CHUNKS, zarr_format=version)
    with http_server(tmp_path) as (url, _):
        source = open_source(f"{url}/v.zarr")
        np.testing.assert_array_equal(read_whole(source), ARRAY)
        again = pickle.loads(pickle.dumps(source))
        np.testing.assert_array_equal(again.read((3, 4, 5), (20, 21, 22)), ARRAY[3:20, 4:21, 5:22])


@pytest.mark.parametrize("status", [500, 503, 429])
def test_http_that_fails_now_and_then_gives_all(tmp_path: Path, status: int) -> None:
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=CHUNKS)
    with http_server(tmp_path, every=4, status=status) as (url, seen):
        np.testing.assert_array_equal(read_whole(open_source(f"{url}/v.zarr")), ARRAY)
    assert seen["failed"] > 3


def test_http_that_always_fails_is_one_line_after_bounded_tries(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=CHUNKS)
    with http_server(tmp_path, every=1) as (url, seen):
        with pytest.raises(VolumeError, match=r"v\.zarr/zarr\.json: cannot be read: 503") as caught:
            open_source(f"{url}/v.zarr")
        assert "\n" not in str(caught.value)
    assert seen["all"] == settings().store_retries + 1


def test_http_denied_is_not_tried_again(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "v.zarr", data=ARRAY, chunks=CHUNKS)
    with http_server(tmp_path, every=1, status=403) as (url, seen), pytest.raises(VolumeError, match="denied"):
        open_source(f"{url}/v.zarr")
    assert seen["all"] == 3  # one for each document that might be there


def test_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(VolumeError, match=r"127\.0\.0\.1:9.*cannot be read") as caught:
        open_source("http://127.0.0.1:9/v.zarr")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("listed", [True, False], ids=["OME/series", "numbers"])
def test_series_of_bioformats2raw_behind_a_server_that_lists_nothing(tmp_path: Path, listed: bool) -> None:
    root = zarr.create_group(tmp_path / "v.zarr", zarr_format=2, attributes={"bioformats2raw.layout": 3})
    for number in range(11):
        image = root.create_group(str(number))
        image.create_array("0", data=ARRAY + number, chunks=CHUNKS)
        scales: Any = [{"version": "0.4", "axes": ["z", "y", "x"], "datasets": [{"path": "0"}]}]
        image.attrs["multiscales"] = scales
    if listed:
        root.create_group("OME", attributes={"series": [str(number) for number in range(11)]})
    with http_server(tmp_path) as (url, _):
        with pytest.raises(VolumeError, match=r"0 \(1 levels\); 1 \(1.*; 10 \(1 levels\); choose one with dataset="):
            open_source(f"{url}/v.zarr")
        np.testing.assert_array_equal(read_whole(open_source(f"{url}/v.zarr", "10")), ARRAY + 10)


@pytest.fixture(scope="module")
def server() -> Iterator[Faults]:
    """One server for all."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with volumes_bucket() as found:
        yield found


@pytest.fixture
def faults(server: Faults) -> Iterator[Faults]:
    yield server
    server.every = 0


def test_s3(faults: Faults) -> None:
    zarr.create_array("s3://volumes/plain.zarr", data=ARRAY, chunks=CHUNKS, overwrite=True)
    np.testing.assert_array_equal(read_whole(open_source("s3://volumes/plain.zarr")), ARRAY)


def test_s3_from_other_processes(faults: Faults) -> None:
    zarr.create_array("s3://volumes/many.zarr", data=ARRAY, chunks=CHUNKS, overwrite=True)
    source = open_source("s3://volumes/many.zarr")
    read_whole(source)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for found in pool.map(read_whole, [source, source]):
            np.testing.assert_array_equal(found, ARRAY)


def test_s3_with_5_percent_failing_calls(faults: Faults) -> None:
    zarr.create_array("s3://volumes/faulty.zarr", data=ARRAY, chunks=(8, 10, 21), overwrite=True)
    faults.every, faults.seen["failed"] = 20, 0
    np.testing.assert_array_equal(read_whole(open_source("s3://volumes/faulty.zarr")), ARRAY)
    assert faults.seen["failed"] >= 2


def test_s3_bucket_that_is_missing(faults: Faults) -> None:
    with pytest.raises(VolumeError, match="there is no bucket 'nowhere'"):
        open_source("s3://nowhere/v.zarr")


def test_s3_name_that_is_missing(faults: Faults) -> None:
    with pytest.raises(VolumeError, match="no Zarr array or group"):
        open_source("s3://volumes/nothing.zarr")


def test_s3_name_that_is_denied(faults: Faults) -> None:
    with pytest.raises(VolumeError, match="access is denied; check the credentials") as caught:
        open_source("s3://volumes/denied.zarr")
    assert caught.value.code == "denied"
    assert "\n" not in str(caught.value)


def test_s3_chunk_that_is_denied(faults: Faults) -> None:
    group = zarr.open_group("s3://volumes/part.zarr", mode="w")
    group.create_array("a", data=ARRAY, chunks=CHUNKS)
    source = open_source("s3://volumes/part.zarr")
    original = faults._app

    def deny(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"].endswith("c/1/1/1"):
            environ = {**environ, "PATH_INFO": "/volumes/denied"}
            return Faults(original)(environ, start_response)
        return original(environ, start_response)

    faults._app = deny
    try:
        with pytest.raises(ReadError, match=r"chunk \(1, 1, 1\)"):
            read_whole(source)
    finally:
        faults._app = original
