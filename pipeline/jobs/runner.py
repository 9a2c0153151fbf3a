"""One job from the claim to the outcome: read from the archive, compute, push, and say what came of it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from pipeline.config import settings
from pipeline.durability import make_folder, write_errors
from pipeline.errors import SupersededError, TokenError, one_line
from pipeline.jobs.claims import Claim, take
from pipeline.jobs.faults import explain, judge
from pipeline.jobs.job import Job
from pipeline.jobs.lease import Lease
from pipeline.jobs.recorder import Recorder
from pipeline.jobs.results import FILES, PLACE, FolderResults, future_place
from pipeline.jobs.store import JobStore
from pipeline.progress import Progress

if TYPE_CHECKING:
    from pipeline.analyses.result import AnalysisResult
    from pipeline.boss import BossArchive
    from pipeline.clusters.workers import Workers

LOG = logging.getLogger("pipeline.jobs")
HIDDEN = "…"


@dataclass(frozen=True)
class Place:
    """Where jobs are computed.

    Parameters
    ----------
    scheduler, workers
        As in `pipeline.cluster.connect`.
    """

    scheduler: str = "threads"
    workers: Workers | None = None


def run_next(store: JobStore, runner: str, place: Place, stopping: Callable[[], bool]) -> Job | None:
    """Take a job and work on it until it has come to an outcome, or has to be left to another runner.

    Parameters
    ----------
    store : JobStore
    runner : str
        Name of this runner; no two that live have the same.
    place : Place
    stopping : callable
        Asked several times a second; true puts the job back, and nothing that is finished is lost.

    Returns
    -------
    Job
        As it is afterwards; None if there was none to take.
    """
    claim = take(store, runner)
    if claim is None:
        return None
    LOG.info("job %s: attempt of %s, fence %d", claim.job.id, runner, claim.fence)
    with contextlib.suppress(SupersededError):
        _Attempt(claim, place, stopping).run()
    left = store.get(claim.job.id)
    LOG.info("job %s: %s%s", left.id, left.state, f": {one_line(left.reason)}" if left.reason else "")
    return left


class _Attempt:
    """One runner's work on one job."""

    def __init__(self, claim: Claim, place: Place, stopping: Callable[[], bool]) -> None:
        self._claim = claim
        self._place = place
        self._stopping = stopping
        self._token: SecretStr | None = None

    def run(self) -> None:
        """Work, and record the outcome.

        Raises
        ------
        SupersededError
            If the job is another runner's by now.
        """
        with Lease(self._claim, self._stopping) as lease:
            try:
                results = self._work(lease)
            except SupersededError:
                raise
            except Exception as error:
                self._settle(lease, error)
            else:
                self._claim.finish(results)
                if PLACE in results:  # should this process die first, `retention` sees to it
                    FolderResults(self._claim.job.folder).remove()

    def _work(self, lease: Lease) -> dict[str, Any]:
        request = self._claim.job.request
        progress = Progress(Recorder(self._claim, lease.is_over, self._hide))
        place = future_place(self._claim.job)
        if place is not None:
            place.check()
        with self._open_archive() as archive:
            if request.push is not None:
                archive.check_pushing(request.push)
            result = self._compute(archive, lease, progress)
            results = {
                "objects": result.objects,
                "volumes": result.volumes,
                "links": result.links,
                "pushed": {},
            }
            self._claim.tell("computed", {"objects": result.objects, "reused": result.reused})
            if request.push is not None and result.volumes:
                self._claim.begin_pushing(results)
                results["pushed"] = self._push(archive, request.push, result, lease, progress)
        if place is not None:
            results |= {PLACE: place.url, FILES: place.keep(result.folder, progress, lease.is_over)}
        return results

    @contextlib.contextmanager
    def _open_archive(self) -> Iterator[BossArchive]:
        from pipeline.boss import BossArchive

        claim = self._claim
        if claim.own_token:
            self._token = claim.store.vault.fetch(claim.secret) if claim.secret is not None else None
            if self._token is None:
                raise TokenError("the token of this job was kept in memory alone, and is gone: it needs it again")
        token = self._token.get_secret_value() if self._token is not None else None
        with BossArchive(claim.job.request.archive, token) as archive:
            yield archive

    def _compute(self, archive: BossArchive, lease: Lease, progress: Progress) -> AnalysisResult:
        from pipeline.analyses import get
        from pipeline.analyses.channels import ChannelSet
        from pipeline.jobs.readiness import check_workers

        job, request = self._claim.job, self._claim.job.request
        analysis = get(request.pipeline)
        check_workers(self._place.scheduler, request.pipeline)
        names = request.collection, request.experiment
        volumes = archive.open(*names, request.z, request.y, request.x, channels=request.channels)
        origin = request.z[0], request.y[0], request.x[0]
        with write_errors(job.folder):
            make_folder(job.folder.parent)
        return analysis(
            ChannelSet.of(volumes, origin_zyx=origin),
            job.folder,
            scheduler=self._place.scheduler,
            workers=self._place.workers,
            mode="resume",
            progress=progress,
            cancelled=lease.is_over,
            **request.parameters,
        )

    def _push(
        self, archive: BossArchive, target: str, result: AnalysisResult, lease: Lease, progress: Progress
    ) -> dict[str, str]:
        from pipeline.boss import channel_name

        job, pushed = self._claim.job, {}
        for name, path in result.volumes.items():
            channel = channel_name(job.channel, name)
            volume = result.folder / path
            pushed[channel] = archive.push(
                target, channel, volume, result.origin_zyx, progress=progress, cancelled=lease.is_over
            )
        return pushed

    def _settle(self, lease: Lease, error: Exception) -> None:
        """Record what an attempt that did not come to its end means for the job."""
        claim = self._claim
        if lease.end == "cancelled":
            return claim.cancel()
        if lease.end == "stopped":
            return claim.put_back(None)
        if lease.end == "superseded":
            return None
        reason, meaning = self._hide(explain(error)), judge(error)
        LOG.warning("job %s: %s", claim.job.id, one_line(reason))
        if meaning == "token":
            return claim.wait_for_token(reason)
        attempts = claim.faults + 1
        if meaning == "stays":
            return claim.fail(reason)
        if attempts >= settings().job_attempts:
            return claim.fail(f"given up after {attempts} attempts, the last of which: {reason}")
        return claim.put_back(reason, settings().job_pause_seconds * 2**claim.faults)

    def _hide(self, text: str) -> str:
        """Take the token out of a text, should somebody else's error hold it."""
        token = self._token.get_secret_value() if self._token is not None else ""
        return text.replace(token, HIDDEN) if token else text
