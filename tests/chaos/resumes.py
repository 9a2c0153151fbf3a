"""``kill -9`` of the command at random moments, each time followed by a resume that has to end with the same bytes."""

from __future__ import annotations

import itertools
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import zarr

from tests.commands import descendants, finish, follow, start
from tests.oracles import GOLDEN
from tests.outputs import contents

EDGE, CHUNK = 40, 20  # 27 blocks of up to 16 x 16 x 16 voxels
OUT, TABLE = "out.zarr", "objects.csv"
COMMANDS = ("predict", "segment")
SCHEDULERS = ("threads", "local")
TURNS = ("threads", "threads", "threads", "local")  # processes take three times as long to start
AGAIN = 0.5  # how likely a run that goes on is killed, too
EARLY = 0.15  # share of the kills that fall anywhere between the start and the end, not into the work
END_SECONDS = 60.0  # until the workers of a killed command have ended


@dataclass(frozen=True)
class Variant:
    """A command and where it computes."""

    command: str
    scheduler: str

    def __str__(self) -> str:
        return f"{self.command}, {self.scheduler}"


@dataclass
class Undisturbed:
    """A run that nobody kills: its bytes, and how long it takes until its work begins and until it ends, seconds."""

    files: dict[str, bytes]
    before: float
    whole: float


@dataclass
class Round:
    """One output: how often and where its commands were killed, and what is left of them.

    Parameters
    ----------
    variant : Variant
    place : Path
        Folder of the output.
    chance : Random
    """

    variant: Variant
    place: Path
    chance: random.Random
    moments: list[str] = field(default_factory=list)
    orphans: list[psutil.Process] = field(default_factory=list)

    def wait_for_orphans(self) -> None:
        """Until the workers of killed commands have ended, which they do by themselves."""
        assert psutil.wait_procs(self.orphans, timeout=END_SECONDS)[1] == []
        self.orphans = []


@dataclass
class Resumes:
    """What rounds share.

    Parameters
    ----------
    folder : Path
    seed : int
    """

    folder: Path
    seed: int
    undisturbed: dict[Variant, Undisturbed] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the volume; run each command undisturbed."""
        values = np.random.default_rng(0).integers(0, 256, (EDGE,) * 3, "u1")
        zarr.create_array(self.folder / "raw.zarr", data=values, chunks=(CHUNK,) * 3)
        for variant in (Variant(command, scheduler) for command in COMMANDS for scheduler in SCHEDULERS):
            place = self.folder / "undisturbed"
            place.mkdir()
            began = time.monotonic()
            process = self.start(variant, place)
            before = _wait_for_work(process) - began
            outcome = finish(process)
            assert outcome.code == 0, outcome.err
            self.undisturbed[variant] = Undisturbed(contents(place), before, time.monotonic() - began)
            shutil.rmtree(place)
        for command in COMMANDS:
            first, *others = (found.files for variant, found in self.undisturbed.items() if variant.command == command)
            assert all(other == first for other in others), f"{command}: schedulers differ"

    def start(self, variant: Variant, place: Path) -> subprocess.Popen[str]:
        """Start a command whose output goes into a folder."""
        job = [GOLDEN / "projects" / "pc_3d.ilp", self.folder / "raw.zarr", place / OUT, "--axes", "zyx", "--json"]
        how = ["--resume", "--scheduler", variant.scheduler, "--workers", "2"]
        objects = ["--channel", "0", "--threshold", "0.4", "--sigma", "1", "--table", place / TABLE]
        return start(variant.command, *job, *how, *(objects if variant.command == "segment" else []))

    def run_round(self, number: int) -> Round:
        """Kill a run of one variant, go on with it, sometimes kill that too, and in the end compare all bytes.

        Raises
        ------
        AssertionError
            If what is there after a kill calls itself finished and is not, if the last resume fails, if any byte
            differs or anything else is left.
        """
        variant = Variant(COMMANDS[number % 2], TURNS[number // 2 % len(TURNS)])
        expected, place = self.undisturbed[variant], self.folder / f"round-{number}"
        now = Round(variant, place, random.Random(f"{self.seed} {number}"))
        place.mkdir()
        while not self._kill(now):  # it had ended before
            assert contents(place) == expected.files
            shutil.rmtree(place)
            place.mkdir()
        while now.chance.random() < AGAIN:
            self._kill(now)
        outcome = finish(self.start(variant, place))
        assert outcome.code == 0, (str(variant), outcome.err[-1:])
        found = contents(place)
        different = [key for key in found.keys() | expected.files.keys() if found.get(key) != expected.files.get(key)]
        assert not different, (str(variant), different)
        now.wait_for_orphans()
        shutil.rmtree(place)
        return now

    def _kill(self, now: Round) -> bool:
        """Start a run and kill it; false if it had ended before."""
        known, process = self.undisturbed[now.variant], self.start(now.variant, now.place)
        if now.chance.random() < EARLY:
            time.sleep(now.chance.uniform(0.0, known.whole))
        else:
            _wait_for_work(process)
            time.sleep(now.chance.uniform(0.0, known.whole - known.before))
        now.orphans += descendants(process) if process.poll() is None else []
        process.send_signal(signal.SIGKILL)
        with process:  # closes its pipes; its workers may hold them for some time
            process.wait()
        if process.returncode == 0:
            return False
        assert process.returncode == -signal.SIGKILL, (str(now.variant), process.returncode)
        now.moments.append(_progress_of(now.place, known.files))
        if (now.place / OUT).exists():  # it has its name: all is there, and only the tidying up may be left
            assert contents(now.place / OUT) == contents_below(known.files)
        if now.chance.random() < 0.5:  # else its workers may still write while the next command does
            now.wait_for_orphans()
        return True


def contents_below(files: dict[str, bytes]) -> dict[str, bytes]:
    """Those that belong to the output, by their names in it."""
    return {key.removeprefix(f"{OUT}/"): value for key, value in files.items() if key.startswith(f"{OUT}/")}


def _wait_for_work(process: subprocess.Popen[str]) -> float:
    """Until the first stage begins; when that was."""
    for event in follow(process):
        if event["event"] == "StageStarted":
            break
    return time.monotonic()


def _progress_of(place: Path, expected: dict[str, bytes]) -> str:
    """How much of the output is there, in words."""
    if (place / OUT).exists():
        return "finished"
    wanted = sum("/c/" in key for key in expected)
    there = sum("/c/" in key and not key.endswith(".partial") for key in contents(place))
    if not there:
        return "nothing written" if not any(place.iterdir()) else "begun"
    return f"{min(there * 4 // wanted, 3) * 25} to {min(there * 4 // wanted, 3) * 25 + 25} %"


def run_resumes(folder: Path, count: int, seed: int, at_once: int) -> dict[str, Any]:
    """Kill and resume so often, in so many outputs at once; what happened, as JSON-ready values."""
    began, rounds = time.monotonic(), Resumes(folder, seed)
    rounds.prepare()
    kills, moments = Counter[str](), Counter[str]()
    numbers, outputs = itertools.count(), 0
    with ThreadPoolExecutor(at_once) as threads:
        running = {threads.submit(rounds.run_round, next(numbers)) for _ in range(at_once)}
        while running:
            try:
                done, running = wait(running, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                count = 0  # what has begun goes on to its end, and nothing else begins
                continue
            for ended in (future.result() for future in done):
                outputs += 1
                kills[str(ended.variant)] += len(ended.moments)
                moments.update(ended.moments)
                print(f"killed and resumed {kills.total()} times: {outputs} outputs, all bytes equal", flush=True)
            if kills.total() < count:
                running |= {threads.submit(rounds.run_round, next(numbers)) for _ in done}
    return {
        "kills": kills.total(),
        "identical": outputs,
        "variants": dict(kills),
        "moments": dict(sorted(moments.items())),
        "seconds": round(time.monotonic() - began),
    }
