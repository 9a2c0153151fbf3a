"""Jobs made up for tests of what is told about them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.jobs.job import DONE, Job
from pipeline.jobs.request import JobRequest

REQUEST = JobRequest(
    "nomads-unsupervised", "http://archive", "collman", "M247514_Rorb_1", (0, 24), (0, 48), (0, 48), ("PSD",), {}
)


def make_job(state: str = DONE, *, event: int = 1, request: JobRequest = REQUEST, **changes: Any) -> Job:
    """A job in a state; `changes` are fields of `Job`."""
    results: Mapping[str, Any] = {"objects": 1234, "pushed": {f"{request.key}_All": "http://archive/x"}}
    fields: dict[str, Any] = {
        "id": f"{request.key}-0123456789ab",
        "key": request.key,
        "digest": "0123456789ab" + "0" * 52,
        "channel": request.key,
        "request": request,
        "state": state,
        "created": 0.0,
        "updated": 65.0,
        "started": 0.0,
        "ended": 65.0,
        "runs": 1,
        "event": event,
        "cancel_asked": False,
        "reason": None if state == DONE else "the archive does not answer",
        "people": ("ada@lab.example",),
        "stages": (),
        "results": results if state == DONE else {},
        "folder": Path("/nowhere"),
        "voxel_bytes": 1,
    }
    return Job(**{**fields, **changes})
