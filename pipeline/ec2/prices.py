"""What machines cost: Amazon's list prices on demand, for Linux, in US dollars an hour.

A dated copy and no promise: estimates and bounds are made with it. The setting `ec2_prices` replaces any of it.
"""

from __future__ import annotations

import datetime
import re

from pipeline.errors import PlanError

AS_OF = datetime.date(2025, 1, 1)
DISK_GB_HOUR = 0.08 / 730  # gp3, a GB and a month of 730 hours
ADDRESS_HOUR = 0.005  # each public IPv4 address

# Of size "large" by family and region; within a family prices follow the size.
LARGE = {
    "us-east-1": {"c5": 0.085, "c6i": 0.085, "m5": 0.096, "m6i": 0.096, "r5": 0.126, "r6i": 0.126, "t3": 0.0832},
    "us-east-2": {"c5": 0.085, "c6i": 0.085, "m5": 0.096, "m6i": 0.096, "r5": 0.126, "r6i": 0.126, "t3": 0.0832},
    "us-west-2": {"c5": 0.085, "c6i": 0.085, "m5": 0.096, "m6i": 0.096, "r5": 0.126, "r6i": 0.126, "t3": 0.0832},
    "eu-west-1": {"c5": 0.096, "c6i": 0.096, "m5": 0.107, "m6i": 0.107, "r5": 0.141, "r6i": 0.141, "t3": 0.0912},
    "eu-central-1": {"c5": 0.097, "c6i": 0.097, "m5": 0.115, "m6i": 0.115, "r5": 0.152, "r6i": 0.152, "t3": 0.096},
}
SIZES = {"micro": 0.125, "small": 0.25, "medium": 0.5, "large": 1.0, "xlarge": 2.0}


def hourly_price(machine_type: str, region: str, own: str = "") -> float:
    """US dollars an hour for a machine on demand; a spot machine costs no more.

    Parameters
    ----------
    machine_type, region : str
        As EC2 names them.
    own : str
        Prices that go before the table, as ``c7i.2xlarge=0.36,c7i.large=0.09``.

    Raises
    ------
    PlanError
        With the code ``price``, if the price is not known, or `own` is not written so.

    Examples
    --------
    >>> hourly_price("c6i.2xlarge", "us-east-1"), hourly_price("x9.large", "mars-1", "x9.large=2")
    (0.34, 2.0)
    """
    replaced = _parse(own)
    if machine_type in replaced:
        return replaced[machine_type]
    family, _, size = machine_type.partition(".")
    base, factor = LARGE.get(region, {}).get(family), _size_factor(size)
    if base is None or factor is None:
        raise PlanError(
            f"What {machine_type} costs in {region} is not known (the table has {', '.join(LARGE['us-east-1'])} in "
            f"{', '.join(LARGE)}): set VOXELFOREST_EC2_PRICES={machine_type}=USD, its price an hour",
            code="price",
        )
    return round(base * factor, 6)


def _size_factor(size: str) -> float | None:
    if size in SIZES:
        return SIZES[size]
    many = re.fullmatch(r"([0-9]{1,2})xlarge", size)
    return 2.0 * int(many[1]) if many else None


def _parse(own: str) -> dict[str, float]:
    found = {}
    for part in filter(None, (text.strip() for text in own.split(","))):
        match = re.fullmatch(r"([a-z0-9-]+\.[a-z0-9-]+)=([0-9]{1,4}(?:\.[0-9]{1,6})?)", part)
        if match is None or float(match[2]) <= 0:
            raise PlanError(f"VOXELFOREST_EC2_PRICES has {part!r}; write it as c7i.2xlarge=0.36", code="price")
        found[match[1]] = float(match[2])
    return found
