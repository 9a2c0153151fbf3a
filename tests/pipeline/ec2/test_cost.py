"""What clusters come to, and how long money lasts."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clusters.workers import Workers
from pipeline.ec2.cost import Rates, cost_so_far, make_offer
from pipeline.ec2.prices import LARGE, hourly_price
from pipeline.errors import PlanError

RATES = Rates(scheduler=0.1, worker=0.4)


@given(st.integers(1, 100), st.floats(0.1, 100.0), st.floats(0.05, 1000.0))
def test_no_offer_costs_more_than_was_allowed(workers: int, hours: float, money: float) -> None:
    if money < RATES.of(workers) * 300 / 3600:
        with pytest.raises(PlanError, match="less than they take to start"):
            make_offer(RATES, Workers(0, workers), 8, hours=hours, max_cost=money)
        return
    offer = make_offer(RATES, Workers(0, workers), 8, hours=hours, max_cost=money)
    assert offer.most <= money * (1 + 1e-9)
    assert offer.seconds <= hours * 3600
    assert offer.seconds % 60 == 0


def test_offer_is_one_line_with_what_the_work_takes() -> None:
    offer = make_offer(RATES, Workers(0, 10), 8, hours=12, core_seconds=8 * 10 * 3600.0)
    assert offer.describe() == (
        "ec2: a scheduler and 0..10 workers of 8 threads, at most $4.10 an hour; the work takes about 64 min and "
        "$4.37; all is switched off after 12.0 h, $49.20 at most (list prices of 2025-01)"
    )


def test_a_minute_at_least_is_charged() -> None:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert cost_so_far(0.6, now, now) == pytest.approx(0.01)
    assert cost_so_far(0.6, now - datetime.timedelta(hours=2), now) == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("kind", "price"), [("c6i.large", 0.085), ("c6i.8xlarge", 1.36), ("m6i.xlarge", 0.192), ("t3.micro", 0.0104)]
)
def test_prices_follow_sizes(kind: str, price: float) -> None:
    assert hourly_price(kind, "us-east-1") == pytest.approx(price)


def test_every_region_has_every_family() -> None:
    assert len({tuple(families) for families in LARGE.values()}) == 1


@pytest.mark.parametrize("kind", ["c6i", "c6i.", "c6i.huge", "x1.large", "c6i.0.5xlarge", ""])
def test_unknown_price_names_the_way_out(kind: str) -> None:
    with pytest.raises(PlanError, match="VOXELFOREST_EC2_PRICES") as caught:
        hourly_price(kind, "us-east-1")
    assert caught.value.code == "price"


@pytest.mark.parametrize("own", ["c7i.large", "c7i.large=", "c7i.large=-1", "c7i.large=0", "c7i.large=nan", "=3"])
def test_own_prices_are_parsed_strictly(own: str) -> None:
    with pytest.raises(PlanError, match="write it as"):
        hourly_price("c6i.large", "us-east-1", own)


def test_own_prices_go_first() -> None:
    assert hourly_price("c6i.large", "us-east-1", "c7i.large=0.09, c6i.large=0.05") == 0.05
