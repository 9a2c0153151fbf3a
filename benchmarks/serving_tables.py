"""Results of serving as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables import figure, size, table

Found = Mapping[str, Any]


def tell_serving(found: Found) -> str:
    """Panning, chunks, overload; a stampede and the first slice in words."""
    header = ("load", "clients", "seconds", "answers", "a second", "median, ms", "p99, ms", "statuses", "wrong bodies")
    rows = [_row(found[name], text) for name, text in LOADS.items()]
    crowd, over = found["stampede"], found["overload"]
    back = over["recovered_seconds"]
    again = "not within a minute" if back is None else f"after {back:.1f} s"
    return table(header, rows) + (
        f"\nOn a volume of {size(found['shape'])}. {crowd['requests']} clients at once for one cold chunk: "
        f"{crowd['computations']} computation, {crowd['bodies']} body, statuses {_statuses(crowd)}. "
        f"Overload: {over['before_mib']:.0f} MiB before, {over['most_mib']:.0f} MiB at most, the cache of 900 MiB "
        f"included; answers again {again}; requests that broke or took more than a minute: {over['errors']}. "
        + " ".join(map(_tell_slice, found["slices"]))
        + "\n"
    )


def _tell_slice(first: Found) -> str:
    """One project's first slice in words."""
    return (
        f"The first slice of {first['edge']}² that a new server is asked for, {first['selection']} with a "
        f"{first['depth']} forest: {first['seconds']:.2f} s, while vigra's forest took "
        f"{figure(first['vigra_us_per_row'])} µs a voxel."
    )


LOADS = {
    "panning": "tiles, 256² uint8, four a second each",
    "chunks": "chunks, 64³ float32",
    "overload": "regions that nobody has",
}


def _row(load: Found, text: str) -> tuple[str, ...]:
    shown = (load["rate"], load["p50_ms"], load["p99_ms"])
    wrong = f"{load['wrong']} of {load['compared']}" if "wrong" in load else ""
    clients = str(load.get("connections", 100))
    return (
        text,
        clients,
        f"{load['seconds']:.0f}",
        f"{load['requests']:,}",
        *map(figure, shown),
        _statuses(load),
        wrong,
    )


def _statuses(load: Found) -> str:
    return ", ".join(f"{status}: {count:,}" for status, count in sorted(load["statuses"].items()))


def tell_shares(found: Found) -> str:
    """What decides the shape of a request."""
    header = ("project", "forest", "halo z, y, x", "a voxel of the box, ns", "a voxel with halo, ns", "share")
    return table(
        header,
        [
            (
                row["selection"],
                row["depth"],
                ", ".join(map(str, row["halo"])),
                *map(figure, (row["forest_ns"], row["filters_ns"], row["share"])),
            )
            for row in found["shares"]
        ],
    )
