"""docs/explanation/durability.md from the results of chaos: ``python -m tests.chaos.report``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.tables import table, tell_machine

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "durability.md"
TEXT = Path(__file__).with_name("durability.md")
NOT_MEASURED = "No figures are kept of this part: `python -m tests.chaos --only {}` makes them."
Found = Mapping[str, Any]


def write_page(results: Mapping[str, Found], text: str) -> str:
    """The page: the words of a text, in which names in braces stand for tables."""
    machines = {tell_machine(found).strip() for found in results.values()}
    tellers = {"workers": _tell_pace, "everything": _tell_everything, "resumes": _tell_resumes}
    parts = {
        "machine": " ".join(sorted(machines)),
        "runs": _tell_runs(results) if results.keys() - {"resumes"} else "",
    }
    for part, tell in tellers.items():
        parts[part] = tell(results[part]) if part in results else NOT_MEASURED.format(part)
    for name, made in parts.items():
        text = text.replace(f"{{{name}}}", made.strip())
    return text


def _tell_runs(results: Mapping[str, Found]) -> str:
    rows = []
    if found := results.get("workers"):
        times = f"{found['undisturbed']['seconds']:.0f} s, {found['killed']['seconds']:.0f} s"
        rows.append(_row("workers are killed", found, found["killed"], found["killed"]["starts"], times))
    if found := results.get("everything"):
        rows.append(_row("everything", found, found, len(found["endings"])))
    if found := results.get("bucket"):
        rows.append(_row("into an object store", found, found, found["starts"]))
    header = ("run", "voxels", "blocks", "killed workers", "one every", "starts of the command", "bytes of all chunks",
              "time undisturbed, and disturbed")  # fmt: skip
    return table(header, rows)


def _row(name: str, found: Found, run: Found, starts: int, times: str = "") -> tuple[str, ...]:
    shape = " × ".join(map(str, found["shape"]))
    kills, every = str(run["killed_workers"]), f"{found['every']:g} s"
    return name, shape, f"{found['blocks']:,}", kills, every, str(starts), "identical", times


def _tell_pace(found: Found) -> str:
    alone, killed = found["undisturbed"], found["killed"]
    by_clock = killed["seconds"] / alone["seconds"]
    by_pace = killed["steady_seconds"] / alone["steady_seconds"]
    paces = f"{alone['steady_seconds']:.0f} s and {killed['steady_seconds']:.0f} s"
    return (
        f"The deaths of {found['workers']} workers of one thread alone cost {by_clock:.2f} times the undisturbed run "
        f"by the clock, and {by_pace:.2f} times by the pace: twenty times the median time of a twentieth of the "
        f"chunks, {paces}, which other work on the machine disturbs less. There was other work, for all runs of this "
        f"page: {killed['load']:.0f} processes wanted one of the cores on average while workers were killed."
    )


def _tell_everything(run: Found) -> str:
    names = {
        "stop": "a worker stopped for 20 s",
        "scheduler": "scheduler killed",
        "client": "client killed",
        "disk": "disk filled",
    }
    rows = [
        ("workers killed", str(run["killed_workers"])),
        *((names[what], str(count)) for what, count in run["happened"].items()),
        ("calls of the object store, of which failed", f"{run['calls']:,}, {run['failed_calls']:,}"),
        ("blocks that read the damaged chunk, all of them named", str(run["named_blocks"])),
        ("looks of the watcher; chunks read by it", f"{run['seen']['looks']:,}; {run['seen']['chunks_read']:,}"),
        ("chunks or outputs that had their name and were not whole", str(len(run["seen"]["wrong"]))),
    ]
    endings = "\n".join(f"{number}. {text}" for number, text in enumerate(run["endings"], 1))
    return f"{table(('what happened', 'count'), rows)}\nHow the command ended each time:\n\n{endings}\n"


def _tell_resumes(found: Found) -> str:
    rows = [(name, str(count)) for name, count in found["variants"].items()]
    moments = [(name, str(count)) for name, count in found["moments"].items()]
    return (
        f"{found['kills']} kills, each followed by a resume; {found['identical']} outputs finished in the end, all "
        f"equal to the byte to those of runs that nobody killed. {found['seconds']:,} s.\n\n"
        + table(("command", "kills"), rows)
        + "\n"
        + table(("what was there of the output when it was killed", "kills"), moments)
    )


def read_results(folder: Path = RESULTS) -> dict[str, Found]:
    """All results in a folder, by part."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def main() -> None:
    """Write the page."""
    PAGE.write_text(write_page(read_results(), TEXT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
