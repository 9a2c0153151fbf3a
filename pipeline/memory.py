"""How much memory processes took at most."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client

Peak = tuple[str, int, int]


def total_peak_bytes(client: Client | None = None) -> int:
    """Sum of what this process and the workers of a client held at most, each at its own time, bytes."""
    peaks = [process_peak()]
    if client is not None:
        peaks += client.run(process_peak, on_error="ignore").values()
    return sum({(host, number): size for host, number, size in peaks}.values())


def process_peak() -> Peak:
    """Host and number of this process, and the most memory that it held, bytes.

    Linux tells it for the program that runs now; what `getrusage` tells includes the program that started this one.
    """
    here = platform.node(), os.getpid()
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return *here, usage if platform.system() == "Darwin" else 1024 * usage
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return *here, 1024 * int(peak.split()[1])
