"""Virtual volumes over a socket: every reader gets what a run writes, bit by bit; what caches and refusals rely on."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tensorstore
import zarr

from pipeline import open_volume
from pipeline.errors import VolumeError
from tests.commands import run_here
from tests.servers import Reply
from tests.web.gallery import LAYERS, PROJECTS, Array, Gallery, open_gallery


@pytest.fixture(scope="module")
def gallery(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with open_gallery(golden_dir, tmp_path_factory.mktemp("gallery")) as found:
        yield found


@pytest.fixture(params=[(project, layer) for project in PROJECTS for layer in LAYERS], ids="-".join)
def shown(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A volume and a layer."""
    found: tuple[str, str] = request.param
    return found


def _equal(found: Array, expected: Array) -> None:
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize(("dialect", "zarr_format"), [("zarr", 3), ("zarr2", 2)])
def test_zarr_python_reads_what_a_run_writes(
    gallery: Gallery, shown: tuple[str, str], dialect: str, zarr_format: Literal[2, 3]
) -> None:
    expected = gallery.values[shown[0]][shown[1]]
    url = gallery.url(*shown, dialect)
    group = zarr.open_group(url, mode="r", zarr_format=zarr_format)
    attributes: dict[str, Any] = group.attrs.asdict()
    assert len(attributes.get("ome", attributes)["multiscales"][0]["datasets"]) == len(expected) > 1
    for level, values in enumerate(expected):
        array = group[str(level)]
        assert isinstance(array, zarr.Array)
        _equal(np.asarray(array[...]), values)


@pytest.mark.parametrize(("dialect", "driver"), [("zarr", "zarr3"), ("zarr2", "zarr")])
def test_tensorstore_reads_zarr(gallery: Gallery, shown: tuple[str, str], dialect: str, driver: str) -> None:
    url = gallery.url(*shown, dialect)
    for level, values in enumerate(gallery.values[shown[0]][shown[1]]):
        kvstore = {"driver": "http", "base_url": f"{url}/{level}/"}
        _equal(tensorstore.open({"driver": driver, "kvstore": kvstore}).result().read().result(), values)


def test_tensorstore_reads_precomputed(gallery: Gallery, shown: tuple[str, str]) -> None:
    project, layer = shown
    url = gallery.url(project, layer, "precomputed")
    n_times = gallery.values[project][layer][0].shape[0] if "_t_" in project else 0
    for level, values in enumerate(gallery.values[project][layer]):
        for time in range(max(n_times, 1)):
            place = f"{url}/t{time}/" if n_times else f"{url}/"
            spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "http", "base_url": place}}
            found = tensorstore.open({**spec, "scale_index": level}).result().read().result()
            expected = values[time] if n_times else values
            _equal(found.transpose(3, 2, 1, 0).reshape(expected.shape), expected)


def test_our_own_reader_opens_a_layer_with_names_of_axes(gallery: Gallery) -> None:
    array = open_volume(gallery.url("pc_t_3d", "probabilities", "zarr"))
    assert array.dims == ("t", "c", "z", "y", "x")
    _equal(array.values, gallery.values["pc_t_3d"]["probabilities"][0])
    coarse = open_volume(gallery.url("pc_3d", "segmentation", "zarr2"), level=1)
    _equal(coarse.values, gallery.values["pc_3d"]["segmentation"][1])


# ---- what a URL means


def _chunk(gallery: Gallery, key: str = "0/c/0/0/0", dialect: str = "zarr", layer: str = "raw") -> str:
    """Path of a chunk of the 3-D volume."""
    return gallery.url("pc_3d", layer, dialect).removeprefix(gallery.server.url) + f"/{key}"


def _computed(gallery: Gallery) -> tuple[int, int]:
    """How many blocks were computed, and how many found, so far."""
    numbers = gallery.server.ask("/api/v1/cache").document["numbers"]
    return numbers["misses"], numbers["hits"]


def test_path_without_digest_leads_to_the_present_one(gallery: Gallery) -> None:
    reply = gallery.server.ask("/data/pc_3d/probabilities/zarr/zarr.json?project=pc_3d")
    assert (reply.status, reply.headers["Cache-Control"]) == (307, "no-cache")
    document = gallery.server.ask(reply.headers["Location"]).document
    assert document["attributes"]["voxelforest"]["digest"] in reply.headers["Location"]


def test_documents_are_asked_for_again_and_chunks_are_not(gallery: Gallery) -> None:
    document = gallery.server.ask(_chunk(gallery, "zarr.json"))
    assert document.headers["Cache-Control"] == "no-cache"
    again = gallery.server.ask(_chunk(gallery, "zarr.json"), headers={"If-None-Match": document.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    chunk = gallery.server.ask(_chunk(gallery))
    assert chunk.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_known_chunk_is_not_computed_again(gallery: Gallery) -> None:
    path = _chunk(gallery, "0/c/0/3/3/2", layer="probabilities")
    etag = gallery.server.ask(path, method="HEAD").headers["ETag"]
    before = _computed(gallery)
    reply = gallery.server.ask(f"{path}?again", headers={"If-None-Match": etag})
    assert (reply.status, reply.body, reply.headers["ETag"]) == (304, b"", etag)
    assert _computed(gallery) == before


def test_head_of_a_chunk_computes_nothing_and_tells_a_known_length(gallery: Gallery) -> None:
    before = _computed(gallery)
    padded = gallery.server.ask(_chunk(gallery, "0/c/0/0/1/1", layer="probabilities"), method="HEAD")
    assert (padded.status, padded.headers["Content-Length"], padded.body) == (200, None, b"")
    key = "0/16-32_0-8_32-37"
    clipped = gallery.server.ask(_chunk(gallery, key, "precomputed", "probabilities"), method="HEAD")
    assert clipped.headers["Content-Length"] == str(16 * 8 * 5 * 3 * 4)
    assert _computed(gallery) == before


@pytest.mark.parametrize("query", ["", "?first"])
def test_parts_of_chunks(gallery: Gallery, query: str) -> None:
    path = _chunk(gallery, "0/0-16_0-8_0-8", "precomputed")
    whole = gallery.server.ask(path).body
    part = gallery.server.ask(path + query, headers={"Range": "bytes=5-9"})
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, whole[5:10], f"bytes 5-9/{len(whole)}")
    assert gallery.server.ask(path, headers={"Range": "bytes=-4"}).body == whole[-4:]
    assert gallery.server.ask(path, headers={"Range": f"bytes={len(whole)}-"}).status == 416


def test_numbers_of_classes_are_packed_for_those_who_take_it(gallery: Gallery) -> None:
    path = _chunk(gallery, "0/0-16_0-8_0-8", "precomputed", "segmentation")
    plain, packed = (gallery.server.ask(path, headers={"Accept-Encoding": e}) for e in ("identity", "gzip"))
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.headers["Content-Encoding"] is None
    assert gzip.decompress(packed.body) == plain.body
    assert plain.headers["ETag"] != packed.headers["ETag"]
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"


OUTSIDE = {
    "zarr": f"""0/c/5/0/0 0/c/0/0/3 0/c/0/0 0/c/0/0/0/0 0/c/00/0/0 0/c/-1/0/0 0/c/+1/0/0 0/c/٠/0/0 0/c/0/0/0/
        9/c/0/0/0 00/c/0/0/0 0/0/0/0 0/c/1e0/0/0 0/c/{10**30}/0/0 0 0/c 0/.zarray c/0/0/0
        9/zarr.json x/zarr.json zarr.json/0 ../zarr.json 0//zarr.json""",
    "zarr2": "0/c/0/0/0 0/5/0/0 0.0.0 0/0.0.0 0/01/0/0 .zarray 0/.zgroup zarr.json",
    "precomputed": """0/0-16_0-8_0-7 0/0-15_0-8_0-8 0/32-48_0-8_0-8 0/1-17_0-8_0-8 0/48-64_0-8_0-8
        0/0-016_0-8_0-8 0/0-16_0-8 s0/0-16_0-8_0-8 4/0-16_0-8_0-8 0/0-16_0-8_0-8.gz t0/info""",
    "tiles": "0/0/0/0 0/37/0/0.png 0/0/1/0.png 0/0/0/0.jpg 0/0/0.png 0/0/0/00.png",
}


@pytest.mark.parametrize(("dialect", "key"), [(d, key) for d, keys in OUTSIDE.items() for key in keys.split()])
def test_keys_outside_the_grid_or_not_canonical_are_unknown(gallery: Gallery, dialect: str, key: str) -> None:
    path = _chunk(gallery, "", dialect)
    reply = gallery.server.ask(path + "".join(f"%{b:02x}" if b > 127 else chr(b) for b in key.encode()))
    assert (reply.status, reply.headers["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/data/none/raw/zarr/zarr.json", 404),
        ("/data/pc_3d/none/zarr/zarr.json", 404),
        ("/data/pc_3d/raw/zarr/zarr.json?project=none", 404),
        ("/data/pc_3d/raw/" + "0" * 32 + "/zarr/zarr.json", 410),
        ("/data/pc_3d/raw/" + "0" * 31 + "/zarr/zarr.json", 404),
        ("/data/pc_3d/raw/" + "0" * 32 + "/n5/attributes.json", 404),
        ("/data/pc_3d/raw/zarr4/zarr.json", 404),
        ("/data/pc_t_3d/raw/precomputed/info", 307),
    ],
)
def test_names_that_are_not_served(gallery: Gallery, path: str, status: int) -> None:
    assert gallery.server.ask(path).status == status


def test_precomputed_with_time_names_the_volume_of_each_point(gallery: Gallery) -> None:
    place = gallery.url("pc_t_3d", "raw", "precomputed").removeprefix(gallery.server.url)
    reply = gallery.server.ask(f"{place}/info")
    assert (reply.status, reply.document["allowed"]) == (404, "t0/info to t1/info")
    assert gallery.server.ask(f"{place}/t2/info").status == 404
    assert gallery.server.ask(f"{place}/t1/info").document["num_channels"] == 1


# ---- what is kept in front of the app


def _kept(gallery: Gallery) -> float:
    lines = gallery.server.ask("/metrics").text.splitlines()
    rows = [line for line in lines if line.startswith("voxelforest_requests_total") and "(kept)" in line]
    return math.fsum(float(row.rsplit(" ", 1)[1]) for row in rows)


def test_kept_answers_equal_those_of_the_app(gallery: Gallery) -> None:
    path = _chunk(gallery, "0/c/1/1/1")
    first = gallery.server.ask(path)
    before = _kept(gallery)
    second = gallery.server.ask(path, headers={"X-Request-Id": "mine"})
    assert _kept(gallery) == before + 1
    names = {*first.headers, *second.headers} - {"Date", "X-Request-Id", "Connection", "Content-Length"}
    assert {name: first.headers[name] for name in names} == {name: second.headers[name] for name in names}
    assert (second.body, second.headers["Content-Length"]) == (first.body, first.headers["Content-Length"])
    assert second.headers["X-Request-Id"] == "mine"
    assert gallery.server.logged()[-2]["request_id"] == "mine"


def test_both_caches_are_told_of_at_both_places(gallery: Gallery) -> None:
    path = _chunk(gallery, "0/c/1/1/1")
    before = gallery.server.ask("/api/v1/cache").document["numbers"]["response_hits"]
    for _ in range(2):
        gallery.server.ask(path)
    numbers = gallery.server.ask("/api/v1/cache").document["numbers"]
    assert numbers["response_hits"] > before
    assert 0 < numbers["cached_response_bytes"] <= numbers["limit_response_bytes"] == 128 << 20
    text = gallery.server.ask("/metrics").text
    for name in ("hits_total", "in_flight", "evictions_total", "cached_bytes", "hit_rate", "response_hits_total"):
        assert f"\nvoxelforest_cache_{name}{{" in text


def test_kept_answers_are_as_guarded_as_others(gallery: Gallery) -> None:
    path = _chunk(gallery, "0/c/1/1/1")
    assert gallery.server.ask(path).status == 200
    before = _kept(gallery)
    assert gallery.server.ask(path, headers={"Host": "elsewhere.example"}).status == 403
    known = gallery.server.ask(path, headers={"If-None-Match": '"other"'})
    assert (known.status, _kept(gallery)) == (200, before + 1)


def test_one_chunk_for_many_at_once_is_computed_once(gallery: Gallery) -> None:
    path = _chunk(gallery, "0/c/0/2/2/2", layer="probabilities")
    before = gallery.server.ask("/api/v1/cache").document["numbers"]["misses"]

    def ask(number: int) -> Reply:
        return gallery.server.ask(f"{path}?{number}")

    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(ask, range(32)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1
    assert gallery.server.ask("/api/v1/cache").document["numbers"]["misses"] <= before + 1


def test_tiles_tell_their_layout(gallery: Gallery) -> None:
    found = json.loads(gallery.server.ask(_chunk(gallery, "tiles.json", "tiles", "probabilities")).body)
    assert (found["side"], found["dims"], found["window"]) == (256, "czyx", [0.0, 1.0])
    assert [level["shape"] for level in found["levels"]][:2] == [[3, 37, 40, 38], [3, 19, 20, 19]]


# ---- our own readers


@pytest.mark.parametrize("dialect", ["zarr", "zarr2", "precomputed"])
@pytest.mark.parametrize("present", [True, False], ids=["digest", "redirected"])
def test_our_own_reader_opens_each_dialect_by_its_plain_url(gallery: Gallery, dialect: str, present: bool) -> None:
    plain = f"{gallery.server.url}/data/pc_3d/probabilities/{dialect}"
    url = gallery.url("pc_3d", "probabilities", dialect) if present else plain
    for level in (0, 1):
        array = open_volume(url, level=level)
        assert array.dims == ("c", "z", "y", "x")
        _equal(array.values, gallery.values["pc_3d"]["probabilities"][level])


@pytest.mark.parametrize("dialect", ["zarr", "zarr2", "precomputed"])
@pytest.mark.parametrize("present", [True, False], ids=["digest", "redirected"])
def test_prediction_of_a_served_volume_equals_that_of_its_file(
    gallery: Gallery,
    golden_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    dialect: str,
    present: bool,
) -> None:
    plain = f"{gallery.server.url}/data/pc_3d/raw/{dialect}"
    url = gallery.url("pc_3d", "raw", dialect) if present else plain
    project = golden_dir / "projects" / "pc_3d.ilp"
    assert run_here(capsys, "predict", project, url, tmp_path / "out.zarr").code == 0
    found = zarr.open_array(tmp_path / "out.zarr/0", mode="r")
    _equal(np.asarray(found[...]), gallery.values["pc_3d"]["probabilities"][0])


def test_url_without_a_volume_says_so(gallery: Gallery) -> None:
    with pytest.raises(VolumeError, match="no Zarr array or group"):
        open_volume(f"{gallery.server.url}/healthz")
