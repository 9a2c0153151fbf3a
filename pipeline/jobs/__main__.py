"""``python -m pipeline.jobs``: the command ``voxelforest jobs``, for processes that start one another."""

from __future__ import annotations

import sys

from pipeline.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["jobs"]
    main()
