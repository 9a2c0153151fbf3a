"""What is mutated, and which tests are to notice it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutations import Mutation, find

ROOT = Path(__file__).parents[2]

_STACK = ("numba_ops/test_features", "numba_ops/test_gaussian", "numba_ops/test_stack")
_LABELS = ("test_labelling", "test_label_run", "test_lazy_labels")
_SERVED = ("serving/test_engine", "serving/test_levels")
_JOBS = ("jobs/test_claims", "jobs/test_store", "jobs/test_runner")


@dataclass(frozen=True)
class Target:
    """A module that is mutated.

    Parameters
    ----------
    module : str
        Its path without suffix.
    tests : tuple of str
        Further test files than the one that mirrors it: paths below tests/pipeline, or below tests with a folder of
        another package before, without suffix.
    functions : tuple of str
        Those to look into; all if empty.
    """

    module: str
    tests: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Of the source, below the root."""
        return Path(f"{self.module}.py")

    @property
    def is_compiled(self) -> bool:
        """Whether numba compiles functions of it."""
        return self.module.startswith("numba_ops/")

    @property
    def test_files(self) -> list[str]:
        """Paths below the root, the mirror first."""
        package, _, name = self.module.rpartition("/")
        mirror = f"tests/{package}/test_{name}.py"
        others = (one if one.startswith(("numba_ops/", "web/")) else f"pipeline/{one}" for one in self.tests)
        named = [mirror, *(f"tests/{one}.py" for one in others)]
        return [name for name in dict.fromkeys(named) if (ROOT / name).is_file()]


def _targets(package: str, names: str, *tests: str, functions: tuple[str, ...] = ()) -> tuple[Target, ...]:
    return tuple(Target(f"{package}/{name}", tests, functions) for name in names.split())


AREAS: dict[str, tuple[Target, ...]] = {
    "kernels: features": (
        *_targets("numba_ops", "gaussian planes stream emission eigen features tap_vectors", *_STACK),
        *_targets("numba_ops", "stack taps tile", *_STACK, "test_plan"),
        *_targets("numba_ops", "smoothing", "test_smoother"),
    ),
    "kernels: forest": _targets("numba_ops", "forest brick_walk brick_vectors trees", "numba_ops/test_forest"),
    "kernels: objects": (
        *_targets("numba_ops", "components", *_LABELS),
        *_targets("numba_ops", "census", "test_measurement"),
        *_targets("numba_ops", "boxes projection"),
    ),
    "plan": (
        *_targets("pipeline", "plan blocks chunks", "test_plan"),
        *_targets("pipeline", "task_memory", "test_plan", "test_footprint"),
    ),
    "cache keys": (
        *_targets("pipeline", "prediction", "test_run_modes", functions=("run_digest",)),
        *_targets("pipeline", "project", "test_project", functions=("_digest",)),
        *_targets("pipeline", "mask", functions=("masked_digest",)),
        *_targets("pipeline", "volume", functions=("digest", "fingerprint_of")),
        *_targets("pipeline", "labelling", "test_segmentation_run", functions=("digest",)),
        *_targets("pipeline/serving", "layers", *_SERVED, functions=("_digest",)),
        *_targets("pipeline/serving", "piece block_cache", *_SERVED),
    ),
    "store": (
        *_targets("pipeline", "store", "test_store_shards", "test_output"),
        *_targets("pipeline", "durability output local_output", "test_store", "test_output", "test_run_modes"),
    ),
    "admission": (
        *_targets("pipeline/serving", "admission request_shape", *_SERVED),
        *_targets("web", "security"),
    ),
    "labelling": _targets(
        "pipeline", "label_graph label_merging label_records label_run label_steps label_tree components", *_LABELS
    ),
    "thresholding": _targets("pipeline", "thresholding smoother threshold_options", "test_label_run"),
    "job store": _targets("pipeline/jobs", "claims store job lease database outbox request", *_JOBS),
    "request boxes": (
        *_targets("web", "boxes", "web/test_old_captures", "web/test_old_prediction"),
        *_targets("web", "roi", "web/test_api"),
        *_targets("web", "chunk_keys tiles", "web/test_virtual"),
        *_targets("pipeline", "region indexing"),
        *_targets("pipeline/serving", "levels", *_SERVED),
    ),
}


@dataclass(frozen=True)
class Mutant:
    """One mutation of one target."""

    area: str
    target: Target
    mutation: Mutation


def sample(count: int, seed: int) -> list[Mutant]:
    """So many mutants, all areas alike; the same for the same sources and seed.

    A longer sample begins with a shorter one's, so that it can be gone on with.
    """
    chance = random.Random(seed)
    drawn: dict[str, list[Mutant]] = {}
    for area, targets in AREAS.items():
        known = [
            Mutant(area, target, mutation)
            for target in targets
            for mutation in find((ROOT / target.path).read_text(), target.functions, returns=not target.is_compiled)
        ]
        chance.shuffle(known)
        drawn[area] = known
    rounds = max(len(known) for known in drawn.values())
    mixed = [drawn[area][turn] for turn in range(rounds) for area in AREAS if turn < len(drawn[area])]
    return mixed[:count]
