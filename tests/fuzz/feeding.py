"""One input after another, in a process that may crash, hang or swell without anything else being harmed."""

from __future__ import annotations

import gc
import multiprocessing
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hypothesis
import psutil

from tests.fuzz.reader import Reader
from tests.memory import peak_growth

MOST_SECONDS = 5.0  # of a core, that one input may take
MOST_PATIENCE = 60.0  # seconds in all: other programs may have the cores
LONGEST_REFUSAL = 3000  # characters


@dataclass
class Tally:
    """What came of a reader's inputs.

    Parameters
    ----------
    well, refused : int
        Inputs that were read, and that were refused in one line.
    findings : list of str
        What was wrong with the others, each with its input.
    slowest : float
        Seconds of a core.
    largest : int
        Bytes.
    """

    well: int = 0
    refused: int = 0
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0

    @property
    def inputs(self) -> int:
        """All of them."""
        return self.well + self.refused + len(self.findings)


def feed(reader: Reader, count: int, seed: int) -> Tally:
    """Draw inputs for a reader and watch what comes of each.

    A process that ends or hangs is a finding; another one goes on after it.
    """
    tally = Tally()
    while tally.inputs < count:
        before = tally.inputs
        with tempfile.TemporaryDirectory() as folder:
            _watch(reader, count - before, seed + before, Path(folder), tally)
        if tally.inputs == before:  # nothing more is drawn
            break
    return tally


def _watch(reader: Reader, count: int, seed: int, folder: Path, tally: Tally) -> None:
    """Read what the process tells, until it ends by itself or has to be ended."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_draw, args=(reader, count, seed, folder, theirs))
    process.start()
    theirs.close()
    said = ""
    try:
        while True:
            if said and not _answers(ours, process.pid or 0):
                tally.findings.append(f"no end after {MOST_SECONDS:.0f} s of a core: {said}")
                return
            told = ours.recv()
            if isinstance(told, str):
                said = told
                continue
            said, (refused, finding, seconds, grown) = "", told
            tally.slowest, tally.largest = max(tally.slowest, seconds), max(tally.largest, grown)
            if finding:
                tally.findings.append(finding)
            else:
                tally.well, tally.refused = tally.well + (not refused), tally.refused + refused
    except EOFError:
        process.join(MOST_PATIENCE)
        if said or process.exitcode:
            tally.findings.append(f"the process ended with {process.exitcode}: {said or 'while it began or ended'}")
    finally:
        if process.is_alive():
            fed = psutil.Process(process.pid)
            for one in (*fed.children(recursive=True), fed):
                one.kill()
        process.join()


def _answers(connection: Connection, pid: int) -> bool:
    """Wait for an answer as long as the process may still take."""
    process, began = psutil.Process(pid), time.monotonic()
    used = sum(process.cpu_times()[:2])
    while not connection.poll(0.5):
        if time.monotonic() - began > MOST_PATIENCE or sum(process.cpu_times()[:2]) - used > MOST_SECONDS:
            return False
    return True


def _draw(reader: Reader, count: int, seed: int, folder: Path, told: Connection) -> None:
    """The process: tells each input, then what came of it."""
    warnings.simplefilter("ignore")
    with reader.prepare(folder) as read:
        most = reader.most_bytes()
        gc.collect()
        gc.freeze()  # garbage is collected before each input; not over what was there before

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=count,
            deadline=None,
            database=None,
            derandomize=False,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(reader.inputs)
        def one_after_another(one: Any) -> None:
            said = f"{reader.name}: {one!r:.2000}"
            told.send(said)
            told.send(_try(lambda: read(one), said, most))

        one_after_another()


def _try(read: Callable[[], str | None], said: str, most: int) -> tuple[bool, str, float, int]:
    """Whether an input is refused, what is wrong with that, seconds and bytes."""
    began = time.process_time()
    try:
        refusal, grown = peak_growth(read)
    except Exception:
        return False, f"{said}\n{traceback.format_exc()}", time.process_time() - began, 0
    seconds = time.process_time() - began
    finding = ""
    if refusal is not None and ("\n" in refusal or len(refusal) > LONGEST_REFUSAL):
        finding = f"{said}\nrefused in more than a line: {refusal[:LONGEST_REFUSAL]}"
    elif grown > most:
        finding = f"{said}\ntook {grown:,} bytes; {most:,} are allowed"
    elif seconds > MOST_SECONDS:
        finding = f"{said}\ntook {seconds:.1f} s of a core"
    return refusal is not None, finding, seconds, grown
