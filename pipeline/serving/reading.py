"""One request on its way: claim blocks, wait for them, try again what failed, put them together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from distributed import KilledWorker

from pipeline.config import settings
from pipeline.errors import AbandonedError, BusyError, ClusterError, PipelineError
from pipeline.serving.admission import BULK_PRIORITY, POLL_SECONDS, VIEWER_PRIORITY, Admission
from pipeline.serving.block_cache import Entry
from pipeline.serving.block_maker import BlockMaker, Claim
from pipeline.serving.piece import Piece
from pipeline.serving.recipe import assemble, place
from pipeline.serving.session import Session

Array = npt.NDArray[Any]
Abandoned = Callable[[], bool] | None


class Reading:
    """A request that does not find everything at hand; used from one thread.

    Parameters
    ----------
    maker : BlockMaker
    admission : Admission
    session : Session
    bulk : bool
        Whether it stands back behind others.
    abandoned : callable, optional
        True says that nobody waits any more.
    """

    def __init__(
        self, maker: BlockMaker, admission: Admission, session: Session, bulk: bool, abandoned: Abandoned
    ) -> None:
        self._maker = maker
        self._admission = admission
        self._session = session
        self._bulk = bulk
        self._abandoned = abandoned
        self._deadline = time.monotonic() + settings().request_seconds

    def run(self, pieces: Sequence[Piece], start: Sequence[int], stop: Sequence[int]) -> Array:
        """The region ``start .. stop`` in the order of the layer's dims, from pieces that cover it."""
        if self._bulk:
            return self._read_in_turn(pieces, start, stop)
        claim = self._maker.claim(pieces, VIEWER_PRIORITY)
        return assemble(start, stop, [piece.start for piece in pieces], self._collect(claim, VIEWER_PRIORITY))

    def _read_in_turn(self, pieces: Sequence[Piece], start: Sequence[int], stop: Sequence[int]) -> Array:
        """Few blocks at a time, each put into its place as soon as it is there."""
        region = np.empty([b - a for a, b in zip(start, stop, strict=True)], pieces[0].layer.dtype)
        flying: deque[tuple[Piece, Claim]] = deque()

        def land() -> None:
            piece, claim = flying.popleft()
            try:
                (values,) = self._collect(claim, BULK_PRIORITY)
            finally:
                self._admission.end_turn()
            place(region, start, stop, piece.start, values)

        try:
            for piece in pieces:
                while flying and not self._admission.has_turn(self._session.threads):
                    land()  # turns that this request holds end only here
                self._admission.take_turn(self._session.threads, self._check)
                flying.append((piece, self._claim(piece)))
                while flying and flying[0][1].entries[0].done.is_set():
                    land()
            while flying:
                land()
        finally:
            for _, claim in flying:
                self._maker.release(claim, abandoned=True)
                self._admission.end_turn()
        region.flags.writeable = False
        return region

    def _claim(self, piece: Piece) -> Claim:
        """Claim one block; its turn is over if that fails."""
        try:
            return self._maker.claim([piece], BULK_PRIORITY)
        except BaseException:
            self._admission.end_turn()
            raise

    def _collect(self, claim: Claim, priority: int) -> list[Array]:
        """Wait for claimed blocks, and again for those that failed; ends the claim."""
        attempts, killed = settings().block_retries + 1, 0
        try:
            for attempt in range(1, attempts + 1):
                self._wait(claim.entries)
                try:
                    return self._maker.values(claim.entries)
                except (PipelineError, MemoryError):
                    raise
                except KilledWorker as error:
                    # Dask counts over the whole life of what is kept: the workers may have died of anything.
                    killed += not self._session.renew(str(error.task))
                    if killed > 1 or attempt == attempts:
                        raise ClusterError(
                            f"a block was given up: {error.allowed_failures + 1} workers died while they computed it; "
                            "most often memory ran out"
                        ) from error
                except Exception as error:  # a worker died, a connection was lost, a disk hiccuped
                    if attempt == attempts:
                        raise ClusterError(f"a block could not be computed in {attempts} attempts: {error}") from error
                again = self._maker.claim([entry.piece for entry in claim.entries], priority)
                self._maker.release(claim)
                claim.entries, claim.waited = again.entries, again.waited
            raise AssertionError("the last attempt returns or raises")
        except AbandonedError:
            self._maker.release(claim, abandoned=True)
            raise
        finally:
            self._maker.release(claim)

    def _wait(self, entries: Sequence[Entry]) -> None:
        """Until all blocks are done, well or badly."""
        for entry in entries:
            while not entry.done.wait(POLL_SECONDS):
                self._check()

    def _check(self) -> None:
        if self._abandoned is not None and self._abandoned():
            raise AbandonedError("nobody waits for this answer any more")
        if time.monotonic() > self._deadline:
            seconds = settings().request_seconds
            raise BusyError(f"this was not computed within {seconds:g} s; ask again, or for less", "busy", seconds)
