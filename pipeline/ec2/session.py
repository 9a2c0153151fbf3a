"""A cluster on EC2 for as long as a context lasts: everything is checked before, and nothing is left after."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

from distributed import Client

from pipeline.clusters.terms import Terms
from pipeline.clusters.workers import Workers
from pipeline.config import settings
from pipeline.ec2.configuration import read_configuration
from pipeline.ec2.cost import make_offer, rates_of
from pipeline.errors import MissingExtraError, PlanError

if TYPE_CHECKING:
    from pipeline.ec2.tenancy import Rented


def check_extra() -> None:
    """See that the packages that speak to EC2 are there.

    Raises
    ------
    MissingExtraError
        Naming the extra.
    """
    missing = [name for name in ("dask_cloudprovider", "aiobotocore") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"ec2 needs {' and '.join(missing)}: pip install 'voxelforest[cloud]'", code="cloud")


@contextlib.contextmanager
def rented_client(workers: Workers, terms: Terms) -> Iterator[tuple[Client, int]]:
    """A client of a cluster on EC2 that lives as long as the context, and the threads of one worker."""
    with rented_cluster(workers, terms) as rented:
        yield rented.client, rented.offer.threads


@contextlib.contextmanager
def rented_cluster(workers: Workers, terms: Terms) -> Iterator[Rented]:
    """A cluster on EC2 that lives as long as the context.

    Parameters
    ----------
    workers : Workers
    terms : Terms

    Raises
    ------
    PlanError, MissingExtraError
        If the settings do not describe a cluster, or it would cost more than allowed.
    ClusterError
        If EC2 does not give what is needed, or the cluster ended before its work did.
    """
    configuration = read_configuration()
    if workers.maximum > settings().ec2_workers:
        raise PlanError(
            f"{workers} workers, but at most {settings().ec2_workers} are allowed on EC2 (VOXELFOREST_EC2_WORKERS)",
            code="workers",
        )
    check_extra()
    from pipeline.ec2.account import Account
    from pipeline.ec2.inspection import inspect_site
    from pipeline.ec2.sweep import sweep_orphans
    from pipeline.ec2.tenancy import tenancy

    with contextlib.closing(Account(configuration.region)) as account:
        rates = rates_of(configuration, account.region)
        site = inspect_site(account, configuration, terms.task_bytes)
        offer = make_offer(
            rates,
            workers,
            site.threads,
            hours=configuration.hours,
            max_cost=terms.max_cost,
            core_seconds=terms.core_seconds,
        )
        sweep_orphans(account, configuration.owner, terms.tell)
        terms.tell(offer.describe())
        with tenancy(account, configuration, site, offer, terms) as rented:
            yield rented
