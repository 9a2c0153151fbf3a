"""Peaks of memory of this process and of workers."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

from pipeline.cluster import connect
from pipeline.memory import process_peak, total_peak_bytes

HELD = 200 << 20


def test_peak_counts_what_was_held_and_not_who_started_the_process() -> None:
    program = "from pipeline.memory import process_peak; print(process_peak()[2])"
    held = np.ones(HELD, np.uint8)
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(child.stdout) < HELD
    del held
    assert process_peak()[1] == os.getpid()
    assert process_peak()[2] >= HELD


def test_threads_are_counted_once_and_processes_each() -> None:
    with connect("threads", 2) as client:
        alone = total_peak_bytes()
        assert alone <= total_peak_bytes(client) <= 1.2 * alone
    with connect("local", 1) as client:
        assert total_peak_bytes(client) >= total_peak_bytes() + (30 << 20)
