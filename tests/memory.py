"""How much memory a call needs at its peak, not how much it keeps."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
RESET_PEAK = "5"  # what /proc/PID/clear_refs takes for it, proc(5)


def peak_growth(call: Callable[[], T]) -> tuple[T, int]:
    """What `call` gives, and by how many bytes the process was larger meanwhile than before.

    Resident memory, so what NumPy and decoders in C take counts as well; Linux alone counts it so.
    """
    status = Path("/proc/self/status")
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    except OSError as error:
        pytest.skip(f"the peak of resident memory cannot be reset here: {error}")
    before = _peak(status)
    found = call()
    return found, _peak(status) - before


def _peak(status: Path) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found[1]) * 1024
