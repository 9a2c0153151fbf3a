"""All that can happen to a run, at once and one after the other; it is gone on with until it ends well.

The volume lies in an object store that fails one call in twenty, and one of its chunks is damaged. The output lies on a
small disk. A worker is killed every few seconds; at certain points of the work a worker is stopped for twenty seconds,
the scheduler and the client are killed, and the disk is filled.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.bucket import bucket
from tests.chaos.client import Running, reason
from tests.chaos.cluster import Cluster
from tests.chaos.disk import Disk, small_disk
from tests.chaos.job import Job, chunk_key, readers_of
from tests.chaos.runs import MOST_STARTS, Chaos, check_equal
from tests.chaos.watcher import chunks, watching
from tests.commands import Outcome
from tests.pipeline.formats.servers import volumes_bucket

BUCKET, RAW = "volumes", "raw.zarr"
FAILING = 20  # one call in so many fails
STOPPED = 20.0  # seconds
DAMAGED = (0, 0, 0)  # index of the chunk of the volume that is damaged
# What happens at which share of the output's chunks.
COURSE = (
    (0.05, "stop"),
    (0.15, "scheduler"),
    (0.30, "client"),
    (0.45, "disk"),
    (0.60, "scheduler"),
)
SPARE = 64 << 20  # bytes of the disk beside 1.2 times the output


@dataclass
class Everything:
    """One run with all its starts.

    Parameters
    ----------
    chaos : Chaos
    job : Job
        Its volume lies in a bucket.
    out, expected : Path
    cluster : Cluster
    disk : Disk
    """

    chaos: Chaos
    job: Job
    out: Path
    expected: Path
    cluster: Cluster
    disk: Disk
    course: list[tuple[float, str]] = field(default_factory=lambda: list(COURSE))
    endings: list[str] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)

    def run(self, original: bytes) -> None:
        """Start the command until it ends well.

        Parameters
        ----------
        original : bytes
            What the damaged chunk should be.
        """
        self.wanted = len(level_0(self.expected))
        for _ in range(MOST_STARTS):
            outcome = self._follow(Running(self.job, self.out, self.cluster.address))
            self.disk.free()
            self.endings.append(_word(outcome).replace(f"{self.out.parent}/", ""))
            print(f"  ended: {self.endings[-1]}", flush=True)
            if outcome.code == 0:
                return
            assert not self.out.exists()
            if reason(outcome).get("code") == "damaged_blocks":
                self._check_damage(reason(outcome)["message"])
                bucket(BUCKET).put(chunk_key(RAW, DAMAGED), original)
        raise AssertionError(f"no end after {MOST_STARTS} starts: {self.endings}")

    def _follow(self, running: Running) -> Outcome:
        """Let happen what is due, until the command has ended."""
        while (outcome := running.wait(0.5)) is None:
            while self.course and self._share() >= self.course[0][0]:
                self._happen(self.course.pop(0)[1], running)
        return outcome

    def _happen(self, what: str, running: Running) -> None:
        print(f"  at {self._share():.0%}: {what}", flush=True)
        self.happened[what] += 1
        if what == "stop":
            threading.Thread(target=self.cluster.stop_worker, args=(self.chaos.chance, STOPPED)).start()
        elif what == "scheduler":
            self.cluster.kill_scheduler()
        elif what == "client":
            running.kill()
        else:
            self.disk.fill()

    def _share(self) -> float:
        """How much of the finest level is there."""
        partial = self.out.with_name(f"{self.out.stem}.partial.zarr")
        return len(level_0(partial)) / self.wanted

    def _check_damage(self, message: str) -> None:
        """The blocks that read the damaged chunk are named; they alone are missing, all others are right."""
        readers = readers_of(self.job.plan(), DAMAGED)
        self.named = message.partition(" at ")[2].partition(": ")[0].split("; ")
        assert set(self.named) == {str(block) for block in readers}, message
        partial = self.out.with_name(f"{self.out.stem}.partial.zarr")
        there, wanted = level_0(partial), level_0(self.expected)
        missing = sum(block.size for block in readers) // 64**3
        assert len(wanted - there) == missing, (len(wanted - there), missing)
        different = [key for key in there if (partial / key).read_bytes() != (self.expected / key).read_bytes()]
        assert not different, different


def run_everything(chaos: Chaos, job: Job, expected: Path) -> dict[str, Any]:
    """Do all of it; what happened, as JSON-ready values."""
    n_bytes = sum((expected / key).stat().st_size for key in chunks(expected))
    place = chaos.folder / "disk"
    with small_disk(place, n_bytes * 6 // 5 + SPARE) as disk, volumes_bucket() as faults:
        put_volume(job)
        original = bucket(BUCKET).get(chunk_key(RAW, DAMAGED))
        assert original is not None
        bucket(BUCKET).put(chunk_key(RAW, DAMAGED), bytes(byte ^ 0x55 for byte in original))
        stored = Job(job.project, f"s3://{BUCKET}/{RAW}")
        out, began = place / "out.zarr", time.monotonic()
        faults.every, faults.seen["all"] = FAILING, 0
        with chaos.cluster("everything") as cluster, watching(out, expected) as seen:
            run = Everything(chaos, stored, out, expected, cluster, disk)
            with chaos.kills(cluster) as counts:
                run.run(original)
        seconds = time.monotonic() - began
        faults.every = 0
        check_equal(out, expected)
        return {
            "seconds": seconds,
            "killed_workers": counts["workers"],
            "happened": dict(run.happened),
            "endings": run.endings,
            "named_blocks": len(run.named),
            "calls": faults.seen["all"],
            "failed_calls": faults.seen["failed"],
            "seen": seen,
        }


def put_volume(job: Job) -> None:
    """Copy the volume into the bucket."""
    for path in Path(job.raw).rglob("*"):
        if path.is_file():
            bucket(BUCKET).put(f"{RAW}/{path.relative_to(job.raw)}", path.read_bytes())


def level_0(output: Path) -> set[str]:
    """Chunks of the finest level that are there."""
    return {key for key in chunks(output) if key.startswith("0/")}


def _word(outcome: Outcome) -> str:
    error = reason(outcome)
    return error.get("message", "done" if outcome.code == 0 else f"killed by signal {-outcome.code}")[:160]
