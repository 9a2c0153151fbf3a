"""The commands ``voxelforest cluster up|status|down|policy``."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import console
from pipeline.options import AsJson, Logfile, MaxCost, Workers

if TYPE_CHECKING:
    from pipeline.ec2.sweep import Machine
    from pipeline.ec2.tenancy import Rented

app = typer.Typer(help="Clusters of machines rented on EC2.", no_args_is_help=True)

Named = Annotated[str | None, typer.Argument(metavar="[CLUSTER]", help="Name of one cluster; all of yours by default.")]
Everybody = Annotated[bool, typer.Option("--all", help="Those of other owners, too.")]
Bucket = Annotated[
    list[str] | None,
    typer.Option(help="Print what the role of the machines needs instead, to use this bucket; repeat it for several."),
]
LOOK_SECONDS = 0.5


@app.command()
def up(workers: Workers = None, max_cost: MaxCost = None, logfile: Logfile = None, as_json: AsJson = False) -> None:
    """Start a cluster and keep it until Ctrl-C, which takes every machine down."""
    from pipeline import display
    from pipeline.clusters.logs import check_logfile
    from pipeline.clusters.terms import Terms
    from pipeline.clusters.workers import JOBS, parse_workers
    from pipeline.ec2.session import rented_cluster

    if logfile is not None:
        check_logfile(logfile)
    wanted = parse_workers(workers) or JOBS
    with display.report(as_json) as progress:
        terms = Terms(max_cost=max_cost, logfile=logfile, tell=progress.note)
        ready = False
        try:
            with rented_cluster(wanted, terms) as rented:
                ready = True
                _keep(rented, as_json)
        except KeyboardInterrupt:
            if not ready:
                raise


def _keep(rented: Rented, as_json: bool) -> None:
    """Say how the cluster is used, and wait until it ends or somebody ends it."""
    from pipeline.config import settings
    from pipeline.errors import ClusterError

    folder = settings().data_dir / "clusters" / rented.id
    files = rented.certificates.write_client(folder)
    document = {"cluster": rented.id, "scheduler": rented.address}
    variables = {f"VOXELFOREST_TLS_{use.upper()}": str(path) for use, path in files.items()}
    lines = [f"export {name}={path}" for name, path in variables.items()]
    lines.append(f"voxelforest predict … --scheduler {rented.address} --workers {rented.offer.workers}")
    typer.echo(json.dumps({**document, "environment": variables}) if as_json else "\n".join(lines))
    try:
        while rented.upkeep.ended is None:
            time.sleep(LOOK_SECONDS)
        raise ClusterError(f"The cluster on EC2 has ended: {rented.upkeep.ended}", code="ec2")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@app.command()
def status(everybody: Everybody = False, as_json: AsJson = False) -> None:
    """List machines that are rented now, and what they have cost."""
    from pipeline.description import Section

    rows = [_row(machine) for machine in _machines(None, everybody)]
    columns = ("machine", "cluster", "role", "type", "state", "since", "ends by", "USD", "owner")
    table = [tuple(str(row[name] or "") for name in columns) for row in rows]
    total = round(sum(row["USD"] or 0.0 for row in rows), 2)
    section = Section(f"{len(rows)} machines, ${total:.2f} so far", columns, tuple(table))
    console.show([section], {"machines": rows, "usd": total}, as_json)


@app.command()
def down(cluster: Named = None, everybody: Everybody = False, as_json: AsJson = False) -> None:
    """Terminate all machines of a cluster, or of all your clusters, and remove their security groups."""
    from pipeline.ec2.configuration import owner_of
    from pipeline.ec2.sweep import end_cluster, find_groups

    with _account() as account:
        machines = _machines(cluster, everybody)
        groups = [g for g in find_groups(account, cluster) if everybody or cluster or g.owner == owner_of()]
        named = sorted({machine.cluster for machine in machines} | {group.cluster for group in groups})
        ended = [
            machine
            for name in named
            for machine in end_cluster(account, name, lambda text: console.show_note(text, as_json))
        ]
    document = {"clusters": named, "terminated": ended}
    sentence = f"{len(ended)} machines of {len(named)} clusters terminated" if named else "nothing is rented"
    typer.echo(json.dumps(document) if as_json else sentence)


@app.command()
def policy(bucket: Bucket = None) -> None:
    """Print what the account needs to be allowed, as a policy of IAM: what this package does, and no more."""
    from pipeline.config import settings
    from pipeline.ec2.policy import client_policy, worker_policy

    table = settings()
    document = client_policy(table.ec2_region or "*", table.ec2_profile, spot=table.ec2_spot)
    typer.echo(json.dumps(worker_policy(bucket) if bucket else document, indent=2))


def _account() -> Any:
    from contextlib import closing

    from pipeline.config import settings
    from pipeline.ec2.session import check_extra

    check_extra()
    from pipeline.ec2.account import Account

    return closing(Account(settings().ec2_region))


def _machines(cluster: str | None, everybody: bool) -> list[Machine]:
    from pipeline.ec2.configuration import owner_of
    from pipeline.ec2.sweep import find_machines

    with _account() as account:
        found = find_machines(account, cluster)
    mine = owner_of()
    return [machine for machine in found if everybody or cluster is not None or machine.owner == mine]


def _row(machine: Machine) -> dict[str, Any]:
    import datetime

    from pipeline.config import settings
    from pipeline.ec2.cost import cost_so_far
    from pipeline.ec2.prices import hourly_price
    from pipeline.errors import PlanError

    now = datetime.datetime.now(datetime.UTC)
    try:
        price = hourly_price(machine.type, machine.region, settings().ec2_prices)
        spent = round(cost_so_far(price, machine.launched, now), 3)
    except PlanError:  # a table that lacks a price is no reason to hide a machine
        spent = None
    return {
        "machine": machine.id,
        "cluster": machine.cluster,
        "role": f"{machine.role}, spot" if machine.spot else machine.role,
        "type": machine.type,
        "state": machine.state,
        "since": f"{machine.launched:%Y-%m-%d %H:%M}",
        "ends by": f"{machine.expires:%Y-%m-%d %H:%M}" if machine.expires else None,
        "USD": spent,
        "owner": machine.owner,
    }
