"""What the archive says of an experiment: extents, sizes, channels."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pipeline.boss import BossArchive, BossChannel, Experiment
from pipeline.errors import ArchiveError, UnknownVolumeError
from tests.archive_contents import Archive

HUGE = Experiment(
    "https://archive",
    "col",
    "exp",
    (BossChannel("PSD95", np.dtype("uint8")), BossChannel("DAPI", np.dtype("uint16"))),
    (10, 0, 0),
    (10_010, 100_000, 200_000),
    {"z": 50.0, "y": 3.0, "x": 3.0},
    "nanometer",
)


def test_experiment_as_the_archive_has_it(archive: Archive) -> None:
    found = BossArchive().experiment("col", "exp")
    assert (found.start_zyx, found.stop_zyx) == ((2, 10, 20), (18, 46, 60))
    assert found.spacing == {"z": 50.0, "y": 3.0, "x": 3.0}
    assert found.unit == "nanometer"
    assert [(c.name, str(c.dtype), c.kind) for c in found.channels] == [
        ("PSD95", "uint8", "image"),
        ("Synapsin", "uint8", "image"),
        ("DAPI", "uint16", "image"),
        ("labels", "uint64", "annotation"),
    ]


def test_size_is_that_of_ranges_types_and_channels_without_a_limit() -> None:
    assert HUGE.nbytes(HUGE.start_zyx, HUGE.stop_zyx) == 10_000 * 100_000 * 200_000 * 3
    assert HUGE.nbytes((10, 0, 0), (12, 3, 4), ["DAPI"]) == 2 * 3 * 4 * 2


def test_region_of_ranges() -> None:
    assert HUGE.region() == (HUGE.start_zyx, HUGE.stop_zyx)
    assert HUGE.region(z=(11, 10_010), x=(0, 1)) == ((11, 0, 0), (10_010, 100_000, 1))


@pytest.mark.parametrize(("start", "stop"), [(9, 12), (10, 10_011), (12, 12), (13, 12), (-5, 11)])
def test_range_outside_the_frame_names_both(start: int, stop: int) -> None:
    expected = re.escape(f"z range {start},{stop} does not lie inside col/exp: allowed is 10 <= start < stop <= 10010")
    with pytest.raises(ArchiveError, match=expected) as caught:
        HUGE.check_range("z", (start, stop))
    assert caught.value.code == "range"


def test_last_plane_can_be_asked_for() -> None:
    assert HUGE.check_range("z", (10_009, 10_010)) == (10_009, 10_010)


def test_unknown_channel_lists_those_that_there_are() -> None:
    with pytest.raises(UnknownVolumeError, match=r"no channel 'PSD'; it has PSD95, DAPI; did you mean PSD95\?"):
        HUGE.channel("PSD")


@pytest.mark.parametrize(
    ("name", "reason"), [("none", "none/exp: the archive does not have this"), ("../../x", "cannot be the name")]
)
def test_unknown_collection_is_one_clear_error(archive: Archive, name: str, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        BossArchive().experiment(name, "exp")


def test_channel_of_another_resolution_is_refused(archive: Archive) -> None:
    archive.add_channel("col/exp/coarse", np.zeros((16, 36, 40), "uint8"), base=2)
    with pytest.raises(ArchiveError, match="col/exp/coarse: is an image of uint8 at base resolution 2"):
        BossArchive().experiment("col", "exp")


@pytest.mark.parametrize("change", [{"start": ("a", 0, 0)}, {"stop": (0, 0, 0)}, {"stop": (1.5, 9, 9)}])
def test_frame_that_makes_no_sense_is_refused(archive: Archive, change: dict[str, tuple[int, int, int]]) -> None:
    for name, value in change.items():
        setattr(archive.places["col", "exp"], name, value)
    with pytest.raises(ArchiveError, match="coordinate frame"):
        BossArchive().experiment("col", "exp")


@pytest.mark.parametrize(("said", "unit"), [("micrometers", "micrometer"), ("Millimeters", "millimeter")])
def test_unit_is_kept(archive: Archive, said: str, unit: str) -> None:
    archive.places["col", "exp"].unit = said
    found = BossArchive().open("col", "exp")["PSD95"]
    assert found.units == dict.fromkeys("zyx", unit)
    assert found.spacing == {"z": 50.0, "y": 3.0, "x": 3.0}
