"""How everything is measured: paired runs on the same cores, medians of the ratios of pairs, and JSON.

A machine's speed drifts, so contestants run in turn, and each pair of neighbouring runs gives one ratio. Contestants
time themselves: a peer in another process reports its own seconds, and nobody pays for being called.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZES = ("full", "quick", "tiny")
Contestant = Callable[[], float]
"""Does the work once and returns the seconds it took."""


@dataclass(frozen=True)
class Rounds:
    """Seconds of each contestant in each round; in a round everybody ran once.

    Parameters
    ----------
    seconds : mapping of str to sequence of float
        The same number for each name.
    """

    seconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """Median seconds of a contestant; NaN if it did not take part."""
        return statistics.median(self.seconds[name]) if self.seconds.get(name) else math.nan

    def ratio(self, slow: str, fast: str, scale: float = 1.0) -> dict[str, float]:
        """How many times longer `slow` took than `fast`: median, smallest and largest over the rounds.

        Parameters
        ----------
        slow, fast : str
            Names; NaN if one of them did not take part.
        scale : float
            By how much more work `fast` did.
        """
        pairs = zip(self.seconds.get(slow, ()), self.seconds.get(fast, ()), strict=False)
        ratios = [scale * a / b for a, b in pairs] or [math.nan]
        return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios), "pairs": len(ratios)}


def run_rounds(
    contestants: Mapping[str, Contestant], rounds: int, budget: float, warm: Sequence[str] = ("ours",)
) -> Rounds:
    """Run contestants in turn.

    Parameters
    ----------
    contestants : mapping
        By name, the order of the first round; it turns by one each round.
    rounds : int
        Most rounds.
    budget : float
        Seconds after which no round begins that would not fit; one round always runs.
    warm : sequence of str
        Who runs once before, uncounted.
    """
    names = list(contestants)
    started = time.perf_counter()
    for name in warm:
        contestants[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        begun = time.perf_counter()
        for name in names[i % len(names) :] + names[: i % len(names)]:
            seconds[name].append(contestants[name]())
        now = time.perf_counter()
        if now - started + (now - begun) > budget:
            break
    return Rounds(seconds)


def timed(work: Callable[[], Any], least: float = 0.0) -> Contestant:
    """A contestant in this process; repeated until `least` seconds have gone, the mean counts."""

    def run() -> float:
        started = time.perf_counter()
        times = 0
        while True:
            work()
            times += 1
            passed = time.perf_counter() - started
            if passed >= least:
                return passed / times

    return run


def cores(n: int) -> list[int]:
    """The first `n` cores that this process may use, or as many as there are."""
    return sorted(os.sched_getaffinity(0))[:n]


def pin(chosen: Sequence[int]) -> None:
    """Keep every thread of this process, and those it will start, on these cores."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), chosen)


@contextmanager
def pinned(n: int) -> Iterator[list[int]]:
    """Use `n` cores for a while; gives their numbers."""
    before, chosen = os.sched_getaffinity(0), cores(n)
    pin(chosen)
    try:
        yield chosen
    finally:
        pin(sorted(before))


def clean(value: Any) -> Any:
    """The value with numbers that JSON has no word for as None."""
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def save(path: Path, document: Mapping[str, Any]) -> None:
    """Write a result; it appears under its name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(clean(document), indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def main(question: str, measure: Callable[[str], Mapping[str, Any]]) -> None:
    """The command line of one question: measure and write ``OUT/question.json``."""
    from benchmarks.machine import describe

    parser = argparse.ArgumentParser(description=f"Measure: {question}.")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    chosen = parser.parse_args()
    machine, started = describe(), time.perf_counter()
    found = measure(chosen.size)
    about = {"question": question, "size": chosen.size, "seconds_taken": time.perf_counter() - started}
    save(chosen.out / f"{question}.json", {**about, "machine": machine, **found})
