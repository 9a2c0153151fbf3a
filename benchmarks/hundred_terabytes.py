"""A plan for 100 TB by the code that plans runs, for `benchmarks.scaling`: chunks, shards, workers, hours, dollars."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cases import write_case
from benchmarks.simulation import CASE
from pipeline.blocks import Box, grid_shape
from pipeline.clusters.work import estimate_seconds
from pipeline.clusters.workers import Workers
from pipeline.config import settings
from pipeline.ec2.configuration import Configuration, read_configuration
from pipeline.ec2.cost import make_offer, rates_of
from pipeline.ec2.prices import AS_OF
from pipeline.plan import Plan, make
from pipeline.project import open_project

SHAPE = (40_000, 50_000, 50_000)  # 1e14 voxels of a byte
SPACING_NM = 8
REGION = "us-east-1"
THREADS = 8  # of a c6i.2xlarge
FLEETS = (20, 100, 400)
REQUEST_PRICES = {"get": 0.4e-6, "put": 5e-6}  # US dollars; S3 standard, us-east-1, 2025-01
STORED_CHUNK = 64
LIMITS = {"block_voxels": 256**3, "task_memory": 1 << 30}  # of 2 GiB that such a machine has for each thread


def work_out() -> Mapping[str, Any]:
    """The plan of a prediction as uint8 with the project of the simulation, and what it takes of machines."""
    with tempfile.TemporaryDirectory() as folder:
        project = open_project(write_case(CASE, Path(folder)))
    limits = settings().model_copy(update=LIMITS)
    plan = make(Box.whole((1, *SHAPE)), 1, "uint8", "zyx", project, stored_type="uint8", limits=limits)
    seconds = estimate_seconds(plan)
    chunks, shards = (math.prod(grid_shape(plan.region, unit)) for unit in (plan.chunk, plan.block))
    pyramid = sum(-(-shards // 8**level) for level in range(1, 20) if shards >= 8 ** (level - 1))
    rates = rates_of(_configuration(), REGION)
    fleets = []
    for workers in FLEETS:
        offer = make_offer(rates, Workers(workers, workers), THREADS, hours=1e6, core_seconds=seconds)
        assert offer.work_seconds is not None
        fleets.append(
            {
                "workers": workers,
                "threads": workers * THREADS,
                "hours": offer.work_seconds / 3600,
                "usd": offer.likely,
                "tasks_a_second": plan.n_tasks / offer.work_seconds,
            }
        )
    return {
        "shape": SHAPE,
        "spacing_nm": SPACING_NM,
        "classes": len(project.stages[-1].class_names),
        "columns": plan.stacks[-1].n_columns,
        "halo_zyx": plan.halo_zyx,
        "block_zyx": plan.block[1:],
        "chunk_zyx": plan.chunk[1:],
        "tasks": plan.n_tasks,
        "chunks": chunks,
        "shards": shards,
        "pyramid_files": pyramid,
        "limits": LIMITS,
        "task_bytes": plan.task_bytes,
        "read_bytes": plan.read_bytes,
        "output_bytes": plan.output_bytes,
        "core_hours": seconds / 3600,
        "seconds_a_block": seconds / plan.n_tasks,
        "resume_bytes": plan.n_tasks,  # one for each block, see `pipeline.pending`
        "requests": _requests(plan, shards + pyramid),
        "machine": _configuration().worker_type,
        "usd_an_hour": {"worker": rates.worker, "scheduler": rates.scheduler},
        "prices_of": f"{AS_OF:%Y-%m}",
        "fleets": fleets,
    }


def _requests(plan: Plan, files: int) -> dict[str, float]:
    """Requests to S3 and their price, where each stored chunk is read once and where each block reads its own."""
    once = math.prod(-(-n // STORED_CHUNK) for n in plan.region.shape[1:])
    each = plan.n_tasks * math.prod(
        n // STORED_CHUNK + 2 * -(-halo // STORED_CHUNK) for n, halo in zip(plan.block[1:], plan.halo_zyx, strict=True)
    )
    return {
        "chunks": once,
        "reads_alone": each / once,
        "get_usd_once": once * REQUEST_PRICES["get"],
        "get_usd_alone": each * REQUEST_PRICES["get"],
        "put_usd": files * REQUEST_PRICES["put"],
    }


def _configuration() -> Configuration:
    """Machines as the settings have them, whatever their image."""
    named = {"ec2_image": "ami-00000000", "ec2_container": "voxelforest:1", "ec2_region": REGION}
    return read_configuration(settings().model_copy(update=named))
