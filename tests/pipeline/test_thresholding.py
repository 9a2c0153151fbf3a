"""Settings of thresholding: ilastik's defaults, what is refused, and which voxels they choose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.errors import PlanError
from pipeline.thresholding import Thresholding, find_channel


def test_defaults_are_those_of_ilastiks_applet() -> None:
    used = Thresholding()
    assert (used.method, used.channel, used.core_channel) == ("simple", 0, 0)
    assert (used.low, used.high, used.sigma_zyx) == (0.5, 0.8, (1.0, 1.0, 1.0))
    assert (used.min_size, used.max_size, used.strict, used.window, used.drange) == (10, 1_000_000, False, 2.0, None)
    assert str(used) == "simple, channel 0, threshold 0.5, sigma 1.0, sizes 10 to 1000000"


def test_the_old_service() -> None:
    used = Thresholding.old_service(channel=1)
    assert (used.strict, used.window, used.low, used.channels) == (True, 3.0, 0.5, (1,))
    assert used.halo_zyx((9, 9, 9)) == (3, 3, 3)
    assert used.min_size == 0
    assert Thresholding.old_service() == Thresholding.old_service(channel=0, threshold=0.5, sigma=1.0)


@pytest.mark.parametrize(
    ("image", "sigma", "halo"),
    [
        ((9, 9, 9), (1.0, 1.0, 1.0), (2, 2, 2)),
        ((1, 9, 9), (1.0, 1.0, 1.0), (0, 2, 2)),
        ((1, 9, 9), (0.0, 1.0, 1.0), (0, 2, 2)),
        ((9, 9, 9), (0.05, 1.0, 1.0), (0, 0, 0)),
        ((9, 9, 9), (0.1, 0.3, 1.7), (1, 1, 3)),
    ],
)
def test_halo(image: tuple[int, int, int], sigma: tuple[float, float, float], halo: tuple[int, int, int]) -> None:
    assert Thresholding(sigma_zyx=sigma).halo_zyx(image) == halo


def test_channels() -> None:
    two = Thresholding("hysteresis", channel=3, core_channel=1, low=1.2, high=0.7)
    assert two.channels == (3, 1)
    assert two.has_two_channels
    assert two.pick(two.channels).channels == (0, 1)
    assert two.pick(range(1, 4)).channels == (2, 0)
    one = Thresholding(channel=3, core_channel=1)
    assert one.channels == (3,)
    assert one.pick([3]).channels == (0,)
    assert "of channel 1" in str(two)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "graphcut"}, "method 'graphcut'; allowed are simple and hysteresis"),
        ({"low": np.nan}, "the low threshold is nan"),
        ({"high": np.inf}, "the high threshold is inf"),
        ({"sigma_zyx": (1.0, -1.0, 1.0)}, "sigma is"),
        ({"sigma_zyx": (1.0, np.inf, 1.0)}, "sigma is"),
        ({"min_size": -3}, "min_size is -3; it must be >= 0"),
        ({"max_size": -3}, "max_size is -3; it must be >= 0"),
        ({"channel": -1}, "channel is -1"),
        ({"min_size": 7, "max_size": 6}, "min_size 7 is above max_size 6, so no object would be left"),
        ({"method": "hysteresis", "low": 0.9}, "the low threshold 0.9 is above the high one, 0.8; exchange them"),
        ({"drange": (1.0, 1.0)}, "drange"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        Thresholding(**changes)
    assert caught.value.code == "threshold"


def test_low_may_be_above_high_where_two_channels_are_added() -> None:
    assert Thresholding("hysteresis", core_channel=1, low=1.2, high=0.7).low == 1.2


def test_channels_by_name_and_number() -> None:
    names = ["Nucleus", "1", "Membrane", "Membrane"]
    assert find_channel("Nucleus", names) == 0
    assert find_channel("1", ["a", "b"]) == 1
    assert find_channel("1", names) == 1
    assert find_channel(2, names) == 2
    assert find_channel("2", (), 3) == 2
    with pytest.raises(PlanError, match="no channel 'Cell'; there are: 0 Nucleus, 1 1, 2 Membrane, 3 Membrane"):
        find_channel("Cell", names)
    with pytest.raises(PlanError, match="channels 2 and 3 are both named 'Membrane'; give the number"):
        find_channel("Membrane", names)
    with pytest.raises(PlanError, match="no channel '-1'; there are: 0 to 2"):
        find_channel(-1, (), 3)
    with pytest.raises(PlanError, match=r"no channel '4'; there are: 0 \[channel"):
        find_channel(4, (), 1)
