"""A run into an object store that fails one call in twenty, whose workers are killed, and once its client."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pipeline.bucket import bucket
from tests.chaos.client import Running
from tests.chaos.job import Job
from tests.chaos.runs import MOST_STARTS, Chaos
from tests.chaos.watcher import chunks
from tests.pipeline.formats.servers import volumes_bucket

BUCKET, OUT = "volumes", "chaos/out.zarr"
FAILING = 20  # one call in so many fails
KILLED_AT = 0.3  # share of the chunks of the finest level at which the client is killed


def run_in_bucket(chaos: Chaos, job: Job, expected: Path) -> dict[str, Any]:
    """Do it; what happened, as JSON-ready values."""
    began, starts, client_kills = time.monotonic(), 0, 0
    wanted = {key for key in chunks(expected) if key.startswith("0/")}
    with volumes_bucket() as faults:
        faults.every, faults.seen["all"] = FAILING, 0
        with chaos.cluster("bucket") as cluster, chaos.kills(cluster) as counts:
            while starts < MOST_STARTS:
                starts += 1
                running = Running(job, f"s3://{BUCKET}/{OUT}", cluster.address)
                while (outcome := running.wait(1.0)) is None:
                    if not client_kills and len(_there() & wanted) >= KILLED_AT * len(wanted):
                        running.kill()
                        client_kills += 1
                if outcome.code == 0:
                    break
                assert client_kills, outcome.err[-1:]
                assert bucket(BUCKET).get(f"{OUT}/zarr.json") is None, "an image before it is whole"
            else:
                raise AssertionError(f"no end after {starts} starts")
        faults.every = 0
        names = chunks(expected)
        different = [key for key in names if bucket(BUCKET).get(f"{OUT}/{key}") != (expected / key).read_bytes()]
        assert not different, different
        assert bucket(BUCKET).get(f"{OUT}/zarr.json") is not None
        return {
            "seconds": time.monotonic() - began,
            "killed_workers": counts["workers"],
            "killed_clients": client_kills,
            "starts": starts,
            "calls": faults.seen["all"],
            "failed_calls": faults.seen["failed"],
        }


def _there() -> set[str]:
    return {key.removeprefix(f"{OUT}/") for key in bucket(BUCKET).keys(f"{OUT}/")}
