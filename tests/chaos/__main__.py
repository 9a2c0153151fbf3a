"""Runs that are disturbed in every way end with the bytes of one that is not: ``python -m tests.chaos``.

In its full form an hour: a run of five minutes on a cluster of processes; the same while a worker is killed every
three seconds; the same with all that can happen (`tests.chaos.everything`); a shorter one into an object store; and 200
commands that are killed and gone on with (`tests.chaos.resumes`). Short form: tests/pipeline/test_interruption.py.

::

    python -m tests.chaos                                    all of it
    python -m tests.chaos --only resumes --resumes 200       a part: workers, everything, bucket, resumes
    python -m tests.chaos --minutes 0.3 --resumes 8          to try it

Results go to a folder as JSON; ``python -m tests.chaos.report`` makes docs/explanation/durability.md of them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from numba_ops.warmup import warm_up
from pipeline.config import settings
from tests.chaos.everything import run_everything
from tests.chaos.in_bucket import run_in_bucket
from tests.chaos.job import CHUNK, ENVIRONMENT, Job, make_job
from tests.chaos.report import RESULTS
from tests.chaos.resumes import run_resumes
from tests.chaos.runs import Chaos, steady_seconds

PARTS = ("workers", "everything", "bucket", "resumes")
SMALL = 2 * CHUNK  # planes of the volume that the pace is measured with
SPARE = 1.1  # so much longer than asked for is the undisturbed run meant to be


class Parts:
    """The parts of chaos, each of which returns its figures as JSON-ready values.

    Parameters
    ----------
    chaos : Chaos
    given : Namespace
        The command line.
    """

    def __init__(self, chaos: Chaos, given: argparse.Namespace) -> None:
        self._chaos = chaos
        self._given = given
        self._undisturbed: tuple[Job, Path, float] | None = None

    def workers(self) -> dict[str, Any]:
        """Workers are killed, and nothing else happens."""
        job, expected, seconds = self._long()
        found = {"undisturbed": _times(seconds, expected), **self._describe(job)}
        out = self._chaos.folder / "killed.zarr"
        found["killed"] = {**self._chaos.run_killed(job, out, expected), "load": os.getloadavg()[1]}
        return found

    def everything(self) -> dict[str, Any]:
        """All that can happen."""
        job, expected, seconds = self._long()
        return {"undisturbed": seconds, **self._describe(job), **run_everything(self._chaos, job, expected)}

    def bucket(self) -> dict[str, Any]:
        """A smaller volume into an object store."""
        job, expected, seconds = self._run_alone(SMALL)
        return {"undisturbed": seconds, **self._describe(job), **run_in_bucket(self._chaos, job, expected)}

    def resumes(self) -> dict[str, Any]:
        """The command is killed and gone on with."""
        return run_resumes(self._chaos.folder, self._given.resumes, self._given.seed, self._given.at_once)

    def _long(self) -> tuple[Job, Path, float]:
        """A volume, the output of a run that nobody disturbed, and its seconds; made once."""
        if self._undisturbed is None:
            planes = self._given.planes
            if planes is None:
                _, _, took = self._run_alone(SMALL)
                planes = max(round(self._given.minutes * 60 * SPARE / took * SMALL / CHUNK + 0.5), 1) * CHUNK
            self._undisturbed = self._run_alone(planes)
        return self._undisturbed

    def _run_alone(self, planes: int) -> tuple[Job, Path, float]:
        job, out = make_job(self._chaos.folder, planes, self._given.edge), self._chaos.folder / f"alone-{planes}.zarr"
        seconds = self._chaos.run_undisturbed(job, out)
        print(f"undisturbed, {planes} planes: {seconds:.0f} s", flush=True)
        return job, out, seconds

    def _describe(self, job: Job) -> dict[str, Any]:
        plan = job.plan()
        return {
            "workers": self._chaos.workers,
            "every": self._chaos.every,
            "shape": plan.image.shape[1:],
            "blocks": plan.n_tasks,
        }


def _times(seconds: float, out: Path) -> dict[str, float]:
    return {"seconds": seconds, "steady_seconds": steady_seconds(out)}


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; all by default")
    parser.add_argument("--minutes", type=float, default=5.0, help="that the undisturbed run takes at least")
    parser.add_argument("--planes", type=int, help=f"depth of its volume, a multiple of {CHUNK}; else it is measured")
    parser.add_argument("--edge", type=int, default=768, help=f"of its planes, likewise a multiple of {CHUNK}")
    parser.add_argument("--workers", type=int, default=4, help="of a cluster, one thread each")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two killed workers")
    parser.add_argument("--resumes", type=int, default=200, help="how often the command is killed and gone on with")
    parser.add_argument("--at-once", type=int, default=4, help="outputs that commands are killed over at the same time")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--folder", type=Path, help="for volumes and outputs, some gigabytes; else a temporary one")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that all processes are ended
    os.environ.update(ENVIRONMENT)
    settings.cache_clear()
    warm_up()
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=given.folder) as name:
        chaos = Chaos(Path(name), given.workers, given.every, given.seed)
        parts = Parts(chaos, given)
        for part in given.only or PARTS:
            found = {"machine": describe(), "seed": given.seed, **getattr(parts, part)()}
            print(f"{part}: {found}", flush=True)
            given.out.mkdir(parents=True, exist_ok=True)
            (given.out / f"{part}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
