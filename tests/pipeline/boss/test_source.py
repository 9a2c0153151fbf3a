"""``boss://`` as a volume: every voxel where it belongs, each block asked for once, errors in one line."""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import open_volume
from pipeline.blocks import Box
from pipeline.boss import BossArchive
from pipeline.config import settings
from pipeline.errors import ArchiveError, MissingExtraError, PlanError, TokenError, TransientArchiveError, VolumeError
from pipeline.formats import boss, open_source
from pipeline.formats.handles import close_handles
from pipeline.volume import open_raw
from tests.archive_contents import Archive
from tests.archive_server import serving
from tests.archive_stream import cut, make_tile

ORIGIN = (2, 10, 20)
SHAPE = (16, 36, 40)


def held(archive: Archive, channel: str) -> np.ndarray:
    """What the archive has of a channel, over the whole frame."""
    data = archive.places["col", "exp"].channels[channel].data
    assert data is not None
    return data


def test_every_channel_is_equal_to_the_byte(archive: Archive) -> None:
    opened = BossArchive().open("col", "exp")
    assert list(opened) == ["PSD95", "Synapsin", "DAPI", "labels"]
    for name, volume in opened.items():
        assert (volume.dims, volume.shape) == ("zyx", SHAPE)
        assert volume[...].tobytes() == held(archive, name).tobytes()
        assert volume.dtype == held(archive, name).dtype


def test_opening_reads_no_voxels(archive: Archive) -> None:
    BossArchive().open("col", "exp")
    open_source("boss://col/exp?channel=DAPI")
    assert archive.counts()["GET cutout"] == 0


@pytest.fixture(scope="module")
def shared() -> Iterator[Archive]:
    """An archive for all drawn boxes."""
    made = Archive()
    made.add("col/exp", (18, 46, 60), ORIGIN)
    for number, name in enumerate(("a", "b")):
        rng = np.random.default_rng(number)
        made.add_channel(f"col/exp/{name}", rng.integers(0, 60000, SHAPE, np.uint16))
    with serving(made):
        yield made


def ranges(length: int) -> st.SearchStrategy[tuple[int, int]]:
    """Start and stop of a range that is not empty."""
    return st.tuples(st.integers(0, length - 1), st.integers(1, length)).map(lambda p: (min(p), max(p[1], p[0] + 1)))


@given(data=st.data())
def test_any_box_of_any_region(shared: Archive, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.MonkeyPatch.context():
        patch.setenv("VOXELFOREST_BOSS_URL", shared.url)
        patch.setenv("VOXELFOREST_BOSS_TOKEN", "reader")
        patch.setenv("VOXELFOREST_BOSS_BLOCK_BYTES", str(data.draw(st.sampled_from([4096, 9000, 1 << 20]))))
        patch.setenv("VOXELFOREST_BOSS_CACHE_BYTES", "0")
        settings.cache_clear()
        region = [data.draw(ranges(n)) for n in SHAPE]
        asked = [(a + o, b + o) for (a, b), o in zip(region, ORIGIN, strict=True)]
        volume = open_raw("boss://col/exp?" + "&".join(f"{x}={a}:{b}" for x, (a, b) in zip("zyx", asked, strict=True)))
        box = [data.draw(ranges(b - a)) for a, b in region]
        (z0, z1), (y0, y1), (x0, x1) = box
        found = volume.read(Box((0, z0, y0, x0), (1, z1, y1, x1)))[0]
        inside = tuple(slice(a + o, b + o) for (a, b), (o, _) in zip(box, region, strict=True))
        channels = shared.places["col", "exp"].channels
        np.testing.assert_array_equal(found, np.stack([channels[name].data[inside] for name in "ab"]))  # type: ignore[index]
    close_handles()
    settings.cache_clear()


def test_boxes_over_many_blocks_and_their_parts(archive: Archive, set_up: Callable[..., None]) -> None:
    set_up(BOSS_BLOCK_BYTES="1MiB")
    start, stop = (5, 0, 70), (75, 300, 500)
    tile = make_tile("PSD95")
    archive.add("big/exp", stop, start)
    archive.add_channel("big/exp/made", functools.partial(cut, tile), "uint8")
    volume = BossArchive().open("big", "exp")["made"]
    rng = np.random.default_rng(11)
    for _ in range(12):
        low = [int(rng.integers(0, n)) for n in volume.shape]
        high = [int(rng.integers(a + 1, n + 1)) for a, n in zip(low, volume.shape, strict=True)]
        found = volume[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        (z0, y0, x0), (z1, y1, x1) = ([a + o for a, o in zip(end, start, strict=True)] for end in (low, high))
        np.testing.assert_array_equal(found, cut(tile, (z0, y0, x0), (z1, y1, x1)))
    asked = [line for line in archive.requests if "GET /v1/cutout" in line]
    assert len(asked) == len(set(asked)) <= 5 * 2 * 2


def test_each_block_is_asked_for_once(archive: Archive) -> None:
    volume = BossArchive().open("col", "exp")["PSD95"]
    for z in range(SHAPE[0]):
        volume[z]
    asked = [line for line in archive.requests if "GET /v1/cutout" in line]
    assert len(asked) == len(set(asked)) == 2 * 3 * 3
    close_handles()
    volume[...]
    BossArchive(token="reader").open("col", "exp", z=(2, 16), y=(16, 46), x=(32, 60))["PSD95"][...]
    assert len([line for line in archive.requests if "GET /v1/cutout" in line]) == len(asked)


def test_threads_ask_once_and_read_right(archive: Archive) -> None:
    volume = BossArchive().open("col", "exp")["DAPI"]
    expected = held(archive, "DAPI")

    def check(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        start = [int(rng.integers(0, n)) for n in SHAPE]
        stop = [int(rng.integers(a + 1, n + 1)) for a, n in zip(start, SHAPE, strict=True)]
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        return np.array_equal(volume[box], expected[box])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(48)))
    asked = [line for line in archive.requests if "GET /v1/cutout" in line]
    assert len(asked) == len(set(asked))


def test_no_more_than_the_region_is_asked_for(archive: Archive) -> None:
    volume = BossArchive().open("col", "exp", (5, 9), (15, 30), (21, 25), ["DAPI"])["DAPI"]
    np.testing.assert_array_equal(volume[...], held(archive, "DAPI")[3:7, 5:20, 1:5])
    places = [line.split("/")[7:10] for line in archive.requests if "GET /v1/cutout" in line]
    assert places
    for place in places:
        (x0, x1), (y0, y1), (z0, z1) = (map(int, text.split(":")) for text in place)
        assert (5 <= z0 < z1 <= 9, 15 <= y0 < y1 <= 30, 21 <= x0 < x1 <= 25) == (True,) * 3


@pytest.mark.parametrize("itemsize", [1, 2, 8])
@pytest.mark.parametrize("limit", [4096, 100_000, 8 << 20, 64 << 20])
def test_blocks_fit_their_bound_and_the_archives(set_up: Callable[..., None], itemsize: int, limit: int) -> None:
    set_up(BOSS_BLOCK_BYTES=limit)
    z, y, x = boss.block_shape(itemsize)
    assert limit / 4 < z * y * x * itemsize <= limit < 500_000_000
    assert z % 16 == 0
    assert 512 % y == 512 % x == 0


def test_blocks_beyond_what_intern_sends_whole_cannot_be_set(set_up: Callable[..., None]) -> None:
    """It cuts what has more than 64 Mi voxels, and its compression ends at 2 GiB."""
    set_up(BOSS_BLOCK_BYTES="65MiB")
    with pytest.raises(PlanError, match="VOXELFOREST_BOSS_BLOCK_BYTES=65MiB is not usable"):
        settings()


def test_several_images_are_channels_of_one_volume(archive: Archive) -> None:
    raw = open_volume("boss://col/exp?channel=Synapsin,PSD95&z=3:5")
    assert raw.dims == ("c", "z", "y", "x")
    assert raw.encoding["volume"].channel_names == ("Synapsin", "PSD95")
    assert raw.attrs["spacing"] == {"z": 50.0, "y": 3.0, "x": 3.0}
    assert raw.attrs["units"] == dict.fromkeys("zyx", "nanometer")
    np.testing.assert_array_equal(raw[1].values, held(archive, "PSD95")[1:3])


def test_annotations_are_left_out_unless_they_are_named(archive: Archive) -> None:
    del archive.places["col", "exp"].channels["DAPI"]
    assert open_raw("boss://col/exp").channel_names == ("PSD95", "Synapsin")
    assert open_raw("boss://col/exp?channel=labels").dtype == np.uint64
    for name in ("PSD95", "Synapsin"):
        del archive.places["col", "exp"].channels[name]
    assert open_raw("boss://col/exp").dtype == np.uint64


def test_channels_of_several_types_are_no_volume(archive: Archive) -> None:
    with pytest.raises(
        ArchiveError, match=r"several types: PSD95 \(uint8\), .* DAPI \(uint16\); choose some with \?ch"
    ):
        open_raw("boss://col/exp")


@pytest.mark.parametrize("options", [{"dataset": "a"}, {"level": 1}])
def test_dataset_and_level_are_refused(archive: Archive, options: dict[str, object]) -> None:
    with pytest.raises(VolumeError, match="no dataset and no level"):
        open_source("boss://col/exp", **options)  # type: ignore[arg-type]


def test_volume_travels_without_its_data(archive: Archive) -> None:
    volume = BossArchive().open("col", "exp")["labels"]
    volume[...]
    other = pickle.loads(pickle.dumps(volume))
    assert len(pickle.dumps(volume)) < 4000
    assert other == volume
    np.testing.assert_array_equal(other[...], volume[...])


def test_version_is_another_volume(archive: Archive) -> None:
    first = open_raw("boss://col/exp?channel=PSD95")
    first[...]
    held(archive, "PSD95")[...] = 7
    second = open_raw("boss://col/exp?channel=PSD95&version=2")
    assert first.digest != second.digest
    assert (second[...] == 7).all()


def test_token_that_expires_on_the_way_is_said(archive: Archive) -> None:
    volume = BossArchive().open("col", "exp")["PSD95"]
    volume[0]
    del archive.tokens["writer"]
    volume[0]  # what is kept can still be read
    with pytest.raises(TokenError, match="is wrong or has expired"):
        volume[...]


@pytest.mark.parametrize("kind", ["500", "drop", "cut", "shape"])
def test_faults_on_the_way_never_change_a_voxel(archive: Archive, kind: str) -> None:
    archive.fail(kind, times=99, every=2)
    volume = BossArchive().open("col", "exp")["PSD95"]
    np.testing.assert_array_equal(volume[...], held(archive, "PSD95"))
    archive.faults.clear()
    archive.fail(kind, times=9999)
    with pytest.raises(TransientArchiveError):
        BossArchive().open("col", "exp")["DAPI"][...]
    archive.faults.clear()
    np.testing.assert_array_equal(BossArchive().open("col", "exp")["DAPI"][...], held(archive, "DAPI"))


def test_check_of_reading_reads_a_voxel_of_each_channel(archive: Archive) -> None:
    BossArchive().open("col", "exp", z=(4, 6), channels=["PSD95", "DAPI"], check=True)
    assert [line.split("?")[0] for line in archive.requests if "GET /v1/cutout" in line] == [
        f"GET /v1/cutout/col/exp/{name}/0/20:21/10:11/4:5/" for name in ("PSD95", "DAPI")
    ]
    with pytest.raises(ArchiveError, match="z range 4,99 does not lie inside"):
        BossArchive().open("col", "exp", z=(4, 99), check=True)
    archive.fail("403", match="/cutout/col/exp/DAPI")
    with pytest.raises(TokenError, match="does not allow this"):
        BossArchive().open("col", "exp", check=True)


def test_without_intern_the_extra_is_named(set_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pipeline.boss.session", "pipeline.formats.boss", "pipeline.boss.push"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in ("intern", "intern.remote.boss", "intern.resource.boss.resource"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'voxelforest\[boss\]'"):
        open_source("boss://col/exp")
    with pytest.raises(MissingExtraError, match=r"pip install 'voxelforest\[boss\]'"):
        BossArchive().check_pushing("out/results")
