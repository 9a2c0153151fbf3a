"""Peak memory of one run, in a process that does nothing else.

``python -m benchmarks.memory_probe PROJECT VOLUME AXES OUT WORKERS`` prints one object of JSON, in bytes: what the
interpreter holds before anything is imported, after the imports, and at most.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import run as run_command


def resident(field: str) -> int:
    """Bytes of this process: ``VmRSS`` now, ``VmHWM`` at most."""
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def probe(project: Path, volume: Path, axes: str, out: Path, cores: Sequence[int]) -> dict[str, int]:
    """Run in a fresh process on these cores; gives what it printed."""
    command = [sys.executable, "-m", "benchmarks.memory_probe", str(project), str(volume), axes, str(out)]
    done = run_command([*command, *map(str, cores)], check=True, capture_output=True, text=True)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """The process itself."""
    interpreter = resident("VmRSS")
    project, volume, axes, out, *cores = sys.argv[1:]
    os.sched_setaffinity(0, [int(core) for core in cores])
    from pipeline import cluster, prediction  # noqa: F401  both are imported late by a run
    from pipeline.progress import Progress
    from pipeline.project import open_project
    from pipeline.run import Request, run
    from pipeline.volume import open_raw

    imports = resident("VmRSS")
    request = Request(open_project(project), open_raw(volume, axes=axes), out, mode="overwrite", workers=len(cores))
    summary = run(request, Progress())
    found = {"interpreter": interpreter, "imports": imports, "peak": resident("VmHWM"), "voxels": summary.voxels}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
