"""What runs of every kind share: a client, compiled kernels, windows of tasks, coarser levels, and the last words."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from distributed import Client

from numba_ops.warmup import PREDICTION, warm_up
from pipeline.cluster import connect, expected_threads
from pipeline.clusters.terms import Terms
from pipeline.clusters.workers import Workers
from pipeline.config import settings
from pipeline.errors import PipelineError, ReadError
from pipeline.lanes import Divisible
from pipeline.output import Mode
from pipeline.progress import Progress, Stage
from pipeline.store import LevelBlock, Store
from pipeline.window import run_windowed

Item = TypeVar("Item")


class Begun(Protocol):
    """An output that was begun or gone on with."""

    @property
    def resumed(self) -> bool: ...
    def abandon(self) -> None: ...


def run_key(store: Store) -> str:
    """Names the tasks of a run: another run of the same digest writes elsewhere."""
    return f"{store.record['digest'][:16]}-{store.token[:16]}"


@contextlib.contextmanager
def connected(
    scheduler: str, workers: int | Workers | None, store: Begun, terms: Terms | None = None
) -> Iterator[Client]:
    """A client; where there is none to be had, an output that was just begun is taken back."""
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(connect(scheduler, workers, terms))
        except PipelineError:
            if not store.resumed:
                store.abandon()
            raise
        yield client


def compile_kernels(progress: Progress, sets: Sequence[str] = (PREDICTION,)) -> None:
    """Compile what is not on disk yet; in a thread, since Ctrl-C in the midst of LLVM leaves it broken."""
    errors: list[Exception] = []

    def compile_set(kernels: str) -> None:
        with contextlib.ExitStack() as begun:
            stages: list[Stage] = []

            def tell(_: str, i: int, n: int) -> None:
                if i == 1:
                    progress.note(f"compiling kernels for {kernels}, once on this machine; half a minute at most")
                    stages.append(begun.enter_context(progress.stage("compile", blocks=n, voxels=0)))
                else:
                    stages[0].advance()

            warm_up(tell, kernels)

    def compile_all() -> None:
        try:
            for kernels in sets:
                compile_set(kernels)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=compile_all, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def build_levels(client: Client, store: Store, progress: Progress, cancelled: Callable[[], bool] | None = None) -> None:
    """Make what the blocks left of the coarser levels, each from the one before it."""
    work = [(spec.name, level) for spec in store.images for level in store.level_blocks(spec.name)]
    blocks = sum(len(level) for _, level in work)
    if not blocks:
        return
    with progress.stage("pyramid", blocks=blocks, voxels=0) as stage:
        for name, level in work:
            run_tasks(
                client,
                _build_level_block,
                level,
                f"pyramid-{name}-{level[0].level}-{run_key(store)}",
                (store, name),
                lambda _: stage.advance(),
                cancelled,
            )


def run_tasks(
    client: Client,
    task: Callable[..., Any],
    items: Iterable[Item] | Divisible[Item],
    key_prefix: str,
    shared: Sequence[Any],
    on_done: Callable[[Item], None],
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Run a task for each item, as many at once as the settings say for the threads that there are.

    Raises
    ------
    ReadError
        At the end, with the code ``damaged_blocks``, if the input of some was damaged; it names them. The others are
        done then, unless these were more than `settings().damaged_blocks`.
    """
    failures = run_windowed(
        client,
        task,
        items,
        window=settings().window_per_thread * expected_threads(client),
        key_prefix=key_prefix,
        shared=shared,
        on_done=lambda item, _: on_done(item),
        cancelled=cancelled,
        keep_going=ReadError,
    )
    if failures:
        first, places = failures[0].error, "; ".join(sorted(str(failure.item) for failure in failures))
        raise ReadError(
            f"{len(failures)} block(s) could not be computed, at {places}: {first}. All others are kept: mend the "
            "input, and the same command with --resume goes on",
            code="damaged_blocks",
        )


def _build_level_block(store: Store, image: str, block: LevelBlock) -> None:
    store.build_level_block(image, block.level, block.start, block.stop)


def how_to_go_on(mode: Mode, store: Store) -> str:
    """What an interrupted run says at its end."""
    change = "with --resume instead of --overwrite" if mode == "overwrite" else "with --resume"
    return f"Interrupted. What is finished is kept in {store.output.partial}; the same command {change} goes on."
