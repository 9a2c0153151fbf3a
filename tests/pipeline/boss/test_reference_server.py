"""The same against the reference's own stand-in of the service: another hand's reading of the wire format."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.boss import BossArchive
from pipeline.errors import ArchiveError, TokenError, TransientArchiveError, UnknownVolumeError
from pipeline.volume import open_raw

PLACE = ("collman", "M247514")
TARGET = "collman_nomads/nomads_predictions"
Arrays = dict[str, npt.NDArray[Any]]


@pytest.fixture
def channels(nomads_dir: Path) -> Arrays:
    """Ten channels of a made synapse volume, in the order of the archive's list."""
    with np.load(nomads_dir / "golden_input_uint16.npz", allow_pickle=False) as stored:
        return {str(name): stored[str(name)] for name in stored["channel_order"]}


@pytest.fixture
def fake(nomads_dir: Path, channels: Arrays, set_up: Callable[..., None]) -> Iterator[Any]:
    """The reference's server, holding them."""
    spec = importlib.util.spec_from_file_location("fake_boss", nomads_dir / "fake_boss.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.FakeBoss({"good": "rw", "read": "r", "other": "rw"})
    made.add_experiment(*PLACE, (24, 48, 48), only={"good", "read"})
    for name, data in channels.items():
        made.add_channel(*PLACE, name, data, kind="annotation" if name == "annotation" else "image")
    made.add_experiment("collman_nomads", "nomads_predictions", (24, 48, 48))
    with made:
        set_up(BOSS_URL=f"http://{made.host}", BOSS_TOKEN="good", BOSS_BLOCK_BYTES=64 << 10)
        yield made


def test_every_channel_is_equal_to_the_byte(fake: Any, channels: Arrays) -> None:
    opened = BossArchive().open(*PLACE)
    assert list(opened) == list(channels)
    for name, volume in opened.items():
        assert volume.dtype == channels[name].dtype
        assert volume[...].tobytes() == channels[name].tobytes()
        assert volume.spacing == {"z": 50.0, "y": 3.0, "x": 3.0}
        np.testing.assert_array_equal(volume[3:9, 5:40, 7:11], channels[name][3:9, 5:40, 7:11])


def test_pushed_result_is_read_back_equal(fake: Any, channels: Arrays) -> None:
    source = BossArchive().open(*PLACE, z=(4, 20), y=(8, 40), channels=["annotation"])["annotation"]
    BossArchive().check_pushing(TARGET, ["key_All"], (4, 8, 0), (20, 40, 48))
    BossArchive().push(TARGET, "key_All", source, (4, 8, 0))
    expected = np.where(channels["annotation"] != 0, 255, 0).astype(np.uint8)
    back = open_raw(f"boss://{TARGET}?channel=key_All&z=4:20&y=8:40")
    assert back[...].tobytes() == expected[4:20, 8:40].tobytes()
    whole = fake.data["collman_nomads", "nomads_predictions", "key_All"]
    assert whole.sum() == expected[4:20, 8:40].sum()


@pytest.mark.parametrize(
    ("token", "error", "reason"),
    [("bad", TokenError, "wrong or has expired"), ("other", TokenError, "does not allow this")],
)
def test_refusals_of_reading(fake: Any, token: str, error: type[ArchiveError], reason: str) -> None:
    with BossArchive(token=token) as archive, pytest.raises(error, match=reason):
        archive.open(*PLACE, check=True)


def test_refusals_of_pushing(fake: Any) -> None:
    with BossArchive(token="read") as archive:
        archive.open(*PLACE, check=True)
        with pytest.raises(TokenError, match="does not allow this"):
            archive.check_pushing(TARGET)
        with pytest.raises(TokenError, match="does not allow this"):
            archive.check_pushing(TARGET, ["key_All"])
    BossArchive().check_pushing(TARGET)
    assert not [key for key in fake.channels if key[0] == "collman_nomads"]
    with pytest.raises(UnknownVolumeError):
        BossArchive().check_pushing("collman_nomads/none")


@pytest.mark.parametrize("kind", ["500", "drop", "truncate", "short"])
def test_faults_never_change_a_voxel(fake: Any, channels: Arrays, kind: str) -> None:
    fake.fail(kind, every=2, match="/cutout/")
    np.testing.assert_array_equal(BossArchive().open(*PLACE)["GAD2"][...], channels["GAD2"])
    assert fake.counters[f"fault {kind}"] > 0
    fake.faults.clear()
    fake.fail(kind, match="/cutout/")
    with pytest.raises(TransientArchiveError, match="no usable answer in 3 tries"):
        BossArchive().open(*PLACE)["DAPI_1st"][...]


def test_cutout_over_the_archives_bound_is_said(fake: Any) -> None:
    fake.max_bytes = 1000
    with pytest.raises(ArchiveError, match=r"answered 413 .*500MB"):
        BossArchive().open(*PLACE)["GAD2"][...]


def test_hanging_server_is_given_up(fake: Any, channels: Arrays, set_up: Callable[..., None]) -> None:
    set_up(BOSS_SILENCE_SECONDS=0.2)
    fake.fail("hang", times=1, match="/cutout/")
    np.testing.assert_array_equal(BossArchive().open(*PLACE)["GAD2"][...], channels["GAD2"])
