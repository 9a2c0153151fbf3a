"""A job followed on the terminal: its notes and the bars of its stages, from the events that its runner writes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pipeline import display
from pipeline.jobs.job import NEEDS_TOKEN, Job
from pipeline.jobs.store import JobStore
from pipeline.progress import BlockDone, Event, Note, StageFinished, StageStarted

LOOK_SECONDS = 0.5


def follow(store: JobStore, job: str, as_json: bool) -> Job:
    """Show what happens to a job until it has ended, or waits for a token; returns it as it is then."""
    stages: set[str] = set()
    after = 0
    with display.report(as_json) as progress:
        while True:
            found = store.get(job)
            for event in store.events(job, after):
                after = event.number
                for told in _as_progress(event.kind, event.document, stages):
                    progress.tell(told)
            if found.finished or found.state == NEEDS_TOKEN:
                return found
            time.sleep(LOOK_SECONDS)


def _as_progress(kind: str, document: Mapping[str, Any], stages: set[str]) -> list[Event]:
    """What an event would have been when it happened here."""
    if kind == "state":
        why = f": {document['reason']}" if document["reason"] else ""
        return [Note(f"{document['state']}{why}")]
    if kind == "note":
        return [Note(document["text"])]
    if kind != "stage":
        return []
    name, blocks, voxels = document["name"], document["blocks"], document["voxels"]
    told: list[Event] = [] if name in stages else [StageStarted(name, blocks, voxels)]
    stages.add(name)
    if document["finished"]:
        return [*told, StageFinished(name, blocks, voxels, voxels / document["rate"] if document["rate"] else 0.0)]
    done = document["blocks_done"]
    state = BlockDone(name, done, blocks, document["voxels_done"], document["rate"], document["seconds_left"])
    return [*told, state]
