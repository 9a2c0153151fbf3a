"""docs/scaling.md and its picture from the results: ``python -m benchmarks.scaling_report``."""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.goals import MIB
from benchmarks.report import read_texts
from benchmarks.simulation import BUSY
from benchmarks.tables import figure, size, table, tell_machine

GOALS = {10: 0.95, 100: 0.90}
TWO_PROCESSES = 1.85
FLAT = 1.1  # of a process's memory, from the first ten thousand blocks to the last
TERA = 10**12
PICTURE = "scaling.png"
Found = Mapping[str, Any]


def tell_measured(found: Found) -> str:
    """One process and two."""
    ratio = found["one_over_two"]
    rows = [
        (
            f"{number} worker{'s' * (number > 1)}",
            figure(found["seconds"][name]),
            figure(found["cpu_seconds"][str(number)]),
        )
        for number, name in ((1, "one"), (2, "two"))
    ]
    return table(("processes", "seconds", "seconds of a core"), rows) + (
        f"\nA volume of {size(found['shape'])}; two are {ratio['median']:.2f} times as fast as one "
        f"({ratio['least']:.2f} to {ratio['most']:.2f} in {ratio['pairs']} pairs). A block of 256³ voxels takes one of "
        f"them {found['block_seconds']:.1f} s. The machine's load at the end: {found['machine_load']:.1f}.\n"
    )


def tell_simulated(found: Found) -> str:
    """Ten workers, a hundred."""
    header = ("workers", "blocks", "dilation", "seconds", "efficiency", "load of the cores", "blocks a second")
    rows = [
        (
            str(row["workers"]), f"{row['tasks']:,}", f"{row['dilation']:.3g}", f"{row['seconds']:.0f}",
            f"{row['efficiency']:.1%}", f"{row['load']:.0%}{_too_busy(row)}", figure(row["tasks_a_second"]),
        )
        for row in found["rows"]
    ]  # fmt: skip
    return table(header, rows) + f"\nA block takes {found['block_seconds']:.2f} s.\n"


def tell_rates(found: Found) -> str:
    """Shorter blocks, and what a task costs."""
    header = ("a block takes, s", "as many as", "wanted, a second", "reached", "efficiency", "scheduler, ms",
              "stand-ins, ms", "client, ms", "scheduler's load", "load of the cores")  # fmt: skip
    rows = [
        (
            figure(row["block_seconds"]), f"{row['times'] * row['workers']:,} workers",
            figure(row["workers"] / row["block_seconds"]), figure(row["tasks_a_second"]), f"{row['efficiency']:.1%}",
            *(figure(row["cpu_ms"][who], 2) for who in ("scheduler", "workers", "client")),
            f"{row['scheduler_load']:.0%}", f"{row['load']:.0%}{_too_busy(row)}",
        )
        for row in found["rows"]
    ]  # fmt: skip
    return table(header, rows) + "\n" + _tell_bend(found)


def _tell_bend(found: Found) -> str:
    rows = found["rows"]
    good = [row for row in rows if row["efficiency"] >= GOALS[100]]
    cost, idle = _fit_scheduler(found)
    full = (1 - idle) / cost
    longest = rows[0]["block_seconds"] * rows[0]["times"]
    kept = f"up to {good[-1]['tasks_a_second']:.0f} blocks a second" if good else "at none of these rates"
    return (
        f"Efficiency stays above {GOALS[100]:.0%} {kept}. A line through the scheduler's load over the rate: a block "
        f"takes {1e3 * cost:.2f} ms of its thread, and {idle:.0%} of the thread go into imports and heartbeats at any "
        f"rate. So one scheduler is full at {full:.0f} blocks a second: {full * longest:,.0f} workers with blocks of "
        f"{longest:.1f} s.\n"
    )


def _fit_scheduler(found: Found) -> tuple[float, float]:
    """Seconds of the scheduler's thread a block, and its load without any: a least-squares line."""
    points = [(row["tasks_a_second"], row["scheduler_load"]) for row in found["rows"]]
    mean_rate, mean_load = (statistics.fmean(values) for values in zip(*points, strict=True))
    above = sum((rate - mean_rate) * (load - mean_load) for rate, load in points)
    cost = above / sum((rate - mean_rate) ** 2 for rate, _ in points)
    return cost, mean_load - cost * mean_rate


def tell_memory(found: Found) -> str:
    """Memory over the number of blocks that are done."""
    header = ("blocks done", "client, MiB", "scheduler, MiB")
    marks = [mark for mark in found["real"]["memory"] if mark["done"]]
    real = [(f"{m['done']:,}", figure(m["client"] / MIB), figure(m["scheduler"] / MIB)) for m in marks]
    alone = [
        (f"{run[-1]['done']:,}", figure(run[0]["client"] / MIB, 4), figure(max(m["client"] for m in run) / MIB, 4))
        for run in found["alone"].values()
    ]
    rate = found["real"]["tasks_a_second"]
    return (
        f"With a real scheduler and ten stand-ins, {found['real']['tasks']:,} of {found['wanted']:,} blocks in the "
        f"time that there was, {rate:.0f} a second:\n\n{table(header, real)}\n"
        "The submission alone, to a client that answers at once, with the lists and lanes of a hundred workers:\n\n"
        + table(("blocks", "MiB at the first block", "MiB at most"), alone)
    )


def tell_plan(found: Found) -> str:
    """A hundred terabytes."""
    ask, limits = found["requests"], found["limits"]
    voxels = math.prod(found["shape"])
    facts = [
        ("volume", f"{size(found['shape'])} voxels of a byte, {found['spacing_nm']} nm"),
        ("project", f"{found['columns']} columns, {found['classes']} classes as uint8, halo {found['halo_zyx'][0]}"),
        ("`VOXELFOREST_BLOCK_VOXELS`", str(limits["block_voxels"])),
        ("`VOXELFOREST_TASK_MEMORY`", f"{limits['task_memory'] // MIB}MiB"),
        ("block of a task", f"{size(found['block_zyx'])}, {found['task_bytes'] / MIB:.0f} MiB"),
        ("tasks", f"{found['tasks']:,}"),
        ("chunks, finest level", f"{found['chunks']:,} of {size(found['chunk_zyx'])}"),
        ("files (shards)", f"{found['shards']:,}, and {found['pyramid_files']:,} of the coarser levels"),
        ("read", f"{found['read_bytes'] / TERA:.0f} TB with halos, out of {voxels / TERA:.0f} TB"),
        ("written before compression", f"{found['output_bytes'] / TERA:.0f} TB, and a seventh for coarser levels"),
        ("core hours", f"{found['core_hours']:,.0f} of a vCPU; {found['seconds_a_block']:.0f} s a block"),
        ("client keeps", f"{found['resume_bytes'] / MIB:.0f} MiB, a byte for each block"),
        ("requests that read, each chunk once", f"{ask['chunks']:,.0f}: ${ask['get_usd_once']:,.0f}"),
        ("the same, each block for itself", f"{ask['reads_alone']:.1f} times as many: ${ask['get_usd_alone']:,.0f}"),
        ("requests that write", f"${ask['put_usd']:,.0f}"),
    ]
    fleet = [
        (f"{row['workers']} × {found['machine']}", f"{row['threads']:,}", f"{row['hours']:,.0f}", f"{row['usd']:,.0f}",
         figure(row["tasks_a_second"]))
        for row in found["fleets"]
    ]  # fmt: skip
    return (
        table(("what", "how much"), facts)
        + "\n"
        + table(("workers", "threads", "hours", "US dollars", "blocks a second"), fleet)
        + f"\nOn demand, list prices of {found['prices_of']}, disks and addresses included; storage is not.\n"
    )


SECTIONS: dict[str, tuple[str, Callable[[Found], str]]] = {
    "measured": ("Two processes", tell_measured),
    "simulated": ("Ten and a hundred workers", tell_simulated),
    "rates": ("Where it bends", tell_rates),
    "memory": ("A million blocks", tell_memory),
    "plan": ("A hundred terabytes", tell_plan),
}


def list_goals(found: Found) -> list[tuple[str, str, str, str]]:
    """Work, goal, what was seen and whether that is enough."""
    goals: list[tuple[str, float, float, str]] = []
    if "measured" in found:
        goals.append(("two processes over one", TWO_PROCESSES, found["measured"]["one_over_two"]["median"], "{:.2f}×"))
    for row in found.get("simulated", {}).get("rows", ()):
        if row["load"] < BUSY and row["workers"] in GOALS:
            goals.append(
                (f"efficiency at {row['workers']} workers", GOALS[row["workers"]], row["efficiency"], "{:.1%}")
            )
    rows = [
        (work, f"≥ {show.format(aim)}", show.format(seen), _verdict(seen >= aim)) for work, aim, seen, show in goals
    ]
    if "memory" in found:
        grown = max(max(m["client"] for m in run) / run[0]["client"] for run in found["memory"]["alone"].values())
        rows.append(
            ("client's memory over a million blocks", f"≤ {FLAT:.1f}×", f"{grown:.3f}×", _verdict(grown <= FLAT))
        )
    return rows


def write_page(found: Found, docs: Path, texts: Path) -> Path:
    """Write the page and its picture; parts that were not measured are left out."""
    words = read_texts(texts)
    parts = [
        "# Scaling\n",
        "Written by `python -m benchmarks.scaling_report` from `benchmarks/results/scaling.json` and "
        "`benchmarks/scaling_texts.md`.\n",
        words["Start of the page"],
        "**Machine:** " + tell_machine(found),
        "" if found["size"] == "full" else f"Size: {found['size']}; only figures of the size full are to be quoted.\n",
        "## Goals\n",
        table(("what", "goal", "seen", "met"), list_goals(found)),
    ]
    for part, (title, tell) in SECTIONS.items():
        if part in found:
            picture = (
                _draw(found["rates"], docs / "images" / PICTURE) if part == "rates" and found["rates"]["rows"] else ""
            )
            parts += [f"## {title}\n", words[title], picture, tell(found[part]) if _has_rows(found[part]) else ""]
    parts += [f"## {title}\n\n{words[title]}" for title in ("What was changed for it", "Method")]
    page = docs / "scaling.md"
    page.write_text("\n".join(part for part in parts if part), encoding="utf-8")
    return page


def _has_rows(part: Found) -> bool:
    return bool(part.get("rows", True))


def _draw(found: Found, path: Path) -> str:
    """Efficiency over the rate of blocks."""
    rows: Sequence[Found] = found["rows"]
    picture = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.subplots()
    axes.plot(
        [row["workers"] / row["block_seconds"] for row in rows],
        [row["efficiency"] for row in rows],
        "o-",
        color="#20639b",
    )
    cost, idle = _fit_scheduler(found)
    ceiling = (1 - idle) / cost
    axes.axvline(ceiling, color="#ed553b", linestyle="--")
    axes.annotate("the scheduler's thread is full", (ceiling, 0.1), (-4, 0), textcoords="offset points", ha="right")
    axes.axhline(GOALS[100], color="#999999", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("blocks a second that 100 workers ask for")
    axes.set_ylabel("efficiency")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=110, metadata={"Software": None})
    return f"![Efficiency over the rate of blocks](images/{path.name})\n"


def _too_busy(row: Found) -> str:
    return "" if row["load"] < BUSY else " (the machine is full)"


def _verdict(met: bool) -> str:
    return "yes" if met else "no"


def main() -> None:
    """Read, write, and print the goals."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling_report")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    chosen = parser.parse_args()
    path = chosen.results / "scaling.json"
    if not path.exists():
        parser.error(f"there is no {path}; python -m benchmarks.scaling makes it")
    found = json.loads(path.read_text(encoding="utf-8"))
    page = write_page(found, chosen.docs, Path(__file__).with_name("scaling_texts.md"))
    print(table(("what", "goal", "seen", "met"), list_goals(found)))
    print(page)


if __name__ == "__main__":
    main()
