"""The submission of a run against a client that answers at once: ``python -m benchmarks.echo BLOCKS``.

A million blocks take a real scheduler an hour and more. Here everything of ours is real that could grow with their
number (the blocks that are left, the division among workers, the window, the progress), and no process beside it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import psutil

from pipeline.blocks import Box
from pipeline.config import settings
from pipeline.pending import Pending
from pipeline.progress import Progress
from pipeline.window import run_windowed

WORKERS = 100
STEPS = 10  # parts of the run after which memory is looked at


class EchoFuture:
    """A task that is done when it is submitted."""

    status = "finished"

    def __init__(self, key: str) -> None:
        self.key = key

    def add_done_callback(self, tell: Callable[[EchoFuture], None]) -> None:
        """Call at once."""
        tell(self)


class EchoClient:
    """What `run_windowed` uses of a client."""

    status = "running"
    scheduler = SimpleNamespace(ncores_running=None)

    def sync(self, *_: Any, **__: Any) -> dict[str, int]:
        """Which workers there are."""
        return {f"tcp://10.0.0.{number}:1": 1 for number in range(WORKERS)}

    def submit(self, *_: Any, key: str, **__: Any) -> EchoFuture:
        """A task that is done."""
        return EchoFuture(key)

    def gather(self, futures: Sequence[EchoFuture]) -> list[None]:
        """Results."""
        return [None] * len(futures)


def run_blocks(number: int) -> list[dict[str, int]]:
    """Run about so many blocks; the memory of this process, bytes, after every tenth of them."""
    edge = round(number ** (1 / 3))
    pending = Pending(Box.whole((1, edge * 64, edge * 64, edge * 64)), (1, 64, 64, 64))
    total, seen, process = pending.n_left, [], psutil.Process()
    with Progress().stage("predict", blocks=total, voxels=pending.voxels) as stage:

        def on_done(block: Box, _: None) -> None:
            stage.advance(block.size)
            if stage.blocks_done % max(total // STEPS, 1) == 0 or stage.blocks_done == 1:
                seen.append({"done": stage.blocks_done, "client": process.memory_info().rss})

        run_windowed(
            EchoClient(),
            print,
            pending,
            window=settings().window_per_thread * WORKERS,
            key_prefix="predict",
            on_done=on_done,
        )
    return seen


if __name__ == "__main__":
    print(json.dumps(run_blocks(int(sys.argv[1]))))
