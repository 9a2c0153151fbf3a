"""How long a plan takes on one core, roughly: enough to say what renting machines for it will cost."""

from __future__ import annotations

import numpy as np

from pipeline.plan import Plan

# Of docs/performance.md, for one core there: 3 to 6 ns a column, 30 to 220 ns for a forest of 100 trees, 30 ns to read,
# compress and write. A vCPU of EC2 is half a core, so all is doubled.
COLUMN_SECONDS = 10e-9
FOREST_SECONDS = 220e-9
STORE_SECONDS = 60e-9


def estimate_seconds(plan: Plan) -> float:
    """Core seconds of a prediction, good to a factor of two.

    Examples
    --------
    A volume of 1000³ voxels and 41 columns takes about eleven minutes.
    """
    overhead = plan.read_bytes / max(plan.region.size * plan.n_channels * np.dtype(plan.dtype).itemsize, 1)
    stages = sum(COLUMN_SECONDS * stack.n_columns + FOREST_SECONDS for stack in plan.stacks)
    return plan.region.size * (stages * overhead + STORE_SECONDS)
