"""All questions in turn, each in its own process: ``python -m benchmarks [--size quick] [--only slice]``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import SIZES

QUESTIONS = ("roofline", "features", "forest", "slice", "second_core", "start", "labels", "volume")
LIMIT = {"full": 1800, "quick": 300, "tiny": 300}
"""Seconds that all questions may take together; then the one that is being asked is stopped."""


def ask(question: str, size: str, out: Path, limit: float) -> bool:
    """Have one question answered in at most `limit` seconds; says how it went."""
    command = [sys.executable, "-m", f"benchmarks.bench_{question}", "--size", size, "--out", str(out)]
    print(f"== {question} (load {os.getloadavg()[0]:.1f})", flush=True)
    started = time.monotonic()
    try:
        code = subprocess.run(command, timeout=limit, check=False).returncode
    except subprocess.TimeoutExpired:
        code = -1
    end = "done" if code == 0 else "stopped" if code == -1 else f"failed with {code}"
    print(f"   {end} in {time.monotonic() - started:.0f} s", flush=True)
    return code == 0


def main() -> None:
    """Ask all questions; the exit code is 1 if one was not answered."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure VoxelForest beside its peers.")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--only", choices=QUESTIONS, action="append", help="may be given several times")
    chosen = parser.parse_args()
    end = time.monotonic() + LIMIT[chosen.size]
    asked = chosen.only or QUESTIONS
    answered = [ask(question, chosen.size, chosen.out, max(end - time.monotonic(), 1.0)) for question in asked]
    sys.exit(0 if all(answered) else 1)


if __name__ == "__main__":
    main()
