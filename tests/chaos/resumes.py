"""``kill -9`` of the command at random moments, each time followed by a resume that has to end with the same bytes."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections import Counter
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
class Resumes:
    """The rounds, and what is known of them.

    Parameters
    ----------
    folder : Path
    chance : Random
    """

    folder: Path
    chance: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    undisturbed: dict[Variant, Undisturbed] = field(default_factory=dict)
    orphans: list[psutil.Process] = field(default_factory=list)

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

    def run_round(self, number: int) -> None:
        """Kill a run of one variant, go on with it, sometimes kill that too, and in the end compare all bytes.

        Raises
        ------
        AssertionError
            If what is there after the kill calls itself finished and is not, if the resume fails, if any byte differs
            or anything else is left.
        """
        variant = Variant(COMMANDS[number % 2], TURNS[number // 2 % len(TURNS)])
        expected, place = self.undisturbed[variant], self.folder / f"round-{number}"
        place.mkdir()
        while not self._kill(variant, place):  # it had ended before
            assert contents(place) == expected.files
            shutil.rmtree(place)
            place.mkdir()
        while self.chance.random() < AGAIN:
            self._kill(variant, place)
        outcome = finish(self.start(variant, place))
        assert outcome.code == 0, (str(variant), outcome.err[-1:])
        found = contents(place)
        different = [key for key in found.keys() | expected.files.keys() if found.get(key) != expected.files.get(key)]
        assert not different, (str(variant), different)
        self._wait_for_orphans()
        shutil.rmtree(place)

    def _kill(self, variant: Variant, place: Path) -> bool:
        """Start a run and kill it; false if it had ended before."""
        known, process = self.undisturbed[variant], self.start(variant, place)
        if self.chance.random() < EARLY:
            time.sleep(self.chance.uniform(0.0, known.whole))
        else:
            _wait_for_work(process)
            time.sleep(self.chance.uniform(0.0, known.whole - known.before))
        self.orphans += descendants(process) if process.poll() is None else []
        process.send_signal(signal.SIGKILL)
        with process:  # closes its pipes; its workers may hold them for some time
            process.wait()
        if process.returncode == 0:
            return False
        assert process.returncode == -signal.SIGKILL, (str(variant), process.returncode)
        self.kills[str(variant)] += 1
        self.moments[_progress_of(place, known.files)] += 1
        if (place / OUT).exists():  # it has its name: all is there, and only the tidying up may be left
            assert contents(place / OUT) == contents_below(known.files)
        if self.chance.random() < 0.5:  # else its workers may still write while the next command does
            self._wait_for_orphans()
        return True

    def _wait_for_orphans(self) -> None:
        assert psutil.wait_procs(self.orphans, timeout=END_SECONDS)[1] == []
        self.orphans = []


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


def run_resumes(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Kill and resume so often; what happened, as JSON-ready values."""
    began, rounds = time.monotonic(), Resumes(folder, random.Random(seed))
    rounds.prepare()
    outputs = 0
    while rounds.kills.total() < count:
        rounds.run_round(outputs)
        outputs += 1
        if outputs % 5 == 0:
            print(f"killed and resumed {rounds.kills.total()} times: {outputs} outputs, all bytes equal", flush=True)
    return {
        "kills": rounds.kills.total(),
        "identical": outputs,
        "variants": dict(rounds.kills),
        "moments": dict(sorted(rounds.moments.items())),
        "seconds": round(time.monotonic() - began),
    }
