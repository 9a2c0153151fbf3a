"""What a run is about to do, in sentences for those who wait for it."""

from __future__ import annotations

from pipeline.labelling import LabelPlan
from pipeline.plan import Plan
from pipeline.store import Store, estimate_bytes
from pipeline.volume_description import readable_bytes


def describe_work(plan: Plan, store: Store, done: int, threads: int) -> str:
    """Results, blocks, threads, memory and disk space, in a line; `done` blocks were computed before."""
    names = ", ".join(spec.name for spec in store.images)
    shape = "x".join(map(str, plan.block[1:]))
    begun = f" ({done:,} are done)" if done else ""
    memory, disk = readable_bytes(plan.task_bytes), readable_bytes(_output_bytes(store))
    return (
        f"{names} of {plan.region.size:,} voxels: blocks of {shape}, {plan.n_tasks:,} in all{begun}, "
        f"on {threads} threads with {memory} each; at most {disk} into {store.path}"
    )


def describe_segmentation(plan: LabelPlan, store: Store, threads: int) -> str:
    """Blocks, threads and disk space of a segmentation, in a line."""
    shape = "x".join(map(str, plan.block[1:]))
    return (
        f"objects of {plan.image.size:,} voxels: blocks of {shape}, {plan.n_blocks:,} in all, on {threads} threads; "
        f"at most {readable_bytes(_output_bytes(store))} into {store.path}"
    )


def warn_of_little_space(store: Store) -> str | None:
    """A sentence where the disk may not hold the output; how far values can be compressed is not known beforehand."""
    free, needed = store.output.free_bytes, _output_bytes(store)
    if free is None or free >= needed:
        return None
    return (
        f"the disk of {store.path} has {readable_bytes(free)} free; the output takes {readable_bytes(needed)} "
        "unless it compresses well"
    )


def _output_bytes(store: Store) -> int:
    """Before compression; a single file and what it is made from exist at once for a while."""
    single = store.output.single
    return estimate_bytes(store.images, pyramid=not single) * (2 if single else 1)
