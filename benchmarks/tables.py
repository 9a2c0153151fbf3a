"""Results as Markdown, a function for each question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.goals import MIB, Goal, ratio_text

Found = Mapping[str, Any]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are figures."""
    marks = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, marks, *rows)) + "\n"


def figure(value: float | None, digits: int = 3) -> str:
    """A figure with so many significant digits; ``missing`` where there is none."""
    if value is None:
        return "missing"
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def size(shape: Sequence[int]) -> str:
    """A shape in voxels, without leading ones."""
    kept = [n for i, n in enumerate(shape) if n > 1 or i]
    return "×".join(map(str, kept))


def tell_machine(found: Found) -> str:
    """One paragraph on the machine."""
    machine = found["machine"]
    caches = ", ".join(f"{level} {amount}" for level, amount in machine["caches"].items())
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['processor']} (family/model/stepping {machine['family']}, {machine['vectors']}), "
        f"{machine['cores']} cores, caches of a core {caches}; {machine['memory_gib']:.0f} GiB; {machine['system']}; "
        f"Python {machine['python']}; {packages}; measured {machine['date']}.\n"
    )


def tell_goals(goals: Iterable[Goal]) -> str:
    """The table of goals."""
    header = ("work", "goal", "measured", "met")
    return table(header, [(goal.work, goal.aim, goal.shown, goal.verdict) for goal in goals])


def tell_features(found: Found) -> str:
    """Feature stacks, and one Gaussian."""
    header = ("features", "columns", "voxels", "ours, ns", "ours into an array, ns", "vigra, ns", "vigra / ours",
              "vigra / ours into an array", "difference to vigra")  # fmt: skip
    rows = [
        (
            row["selection"], str(row["columns"]), f"{row['voxels']:,}",
            *(figure(row["ns_per_voxel"][who]) for who in ("ours", "ours_array", "vigra")),
            ratio_text(row["vigra_over_ours"]), ratio_text(row["vigra_over_ours_array"]),
            figure(row["difference"], 2),
        )
        for row in found["stacks"]
    ]  # fmt: skip
    gaussian = [
        (f"σ = {row['sigma']:g}", figure(row["ns_per_voxel"]["ours"]), figure(row["ns_per_voxel"]["scipy"]),
         ratio_text(row["scipy_over_ours"]))
        for row in found["gaussian"]
    ]  # fmt: skip
    return (
        table(header, rows)
        + "\nThe feature GaussianSmoothing alone, two Gaussians in a row, against `scipy.ndimage.gaussian_filter`:\n\n"
        + table(("scale", "ours, ns", "SciPy, ns", "SciPy / ours"), gaussian)
    )


def tell_forest(found: Found) -> str:
    """Forests of three depths."""
    header = ("forest", "nodes a tree", "ours, µs", "vigra, µs", "scikit-learn, µs", "vigra / ours",
              "scikit-learn / ours", "vigra's bits", "difference to scikit-learn")  # fmt: skip
    bits = {True: "equal", False: "not equal", None: "missing"}
    rows = [
        (
            row["depth"], figure(row["nodes_per_tree"]),
            *(figure(row["us_per_row"][who]) for who in ("ours", "vigra", "sklearn")),
            ratio_text(row["vigra_over_ours"]), ratio_text(row["sklearn_over_ours"]),
            bits[row["same_bits_as_vigra"]], f"{row['difference_to_sklearn']:.0e}",
        )
        for row in found["forests"]
    ]  # fmt: skip
    return table(header, rows)


def tell_volume(found: Found) -> str:
    """Whole volumes, and their memory."""
    header = ("volume", "forest", "peers' crop", "ours, s", "ours, ns", "ours on the crop, ns", "vigra, ns",
              "scikit, ns", "vigra / ours", "vigra / ours, crop", "scikit / ours")  # fmt: skip
    rows = [
        (
            f"{row['selection']}, {size(row['shape'])}", row["depth"], size(row["crop"]), figure(row["ours_seconds"]),
            *(figure(row["ns_per_voxel"][who]) for who in ("ours", "ours_crop", "vigra", "scikit")),
            ratio_text(row["vigra_over_ours"]), ratio_text(row["vigra_over_ours_crop"]),
            ratio_text(row["scikit_over_ours"]),
        )
        for row in found["volumes"]
    ]  # fmt: skip
    return table(header, rows)


def tell_memory(found: Found) -> str:
    """Peak memory, from the bare interpreter to the run."""
    header = ("run", "voxels", "interpreter, MiB", "with imports, MiB", "peak, MiB", "peak above imports, MiB")
    rows = [
        (
            f"{row['selection']}, {row['depth']} forest, {row['data']}", f"{row['voxels']:,}",
            *(f"{row[key] / MIB:.0f}" for key in ("interpreter", "imports", "peak")),
            f"{(row['peak'] - row['imports']) / MIB:.0f}",
        )
        for row in found["memory"]
    ]  # fmt: skip
    return table(header, rows)


def tell_second_core(found: Found) -> str:
    """Two threads beside two processes and one thread."""
    header = ("volume", "forest", "one thread, s", "two threads, s", "two processes, s", "processes / threads",
              "one thread / two")  # fmt: skip
    rows = [
        (
            f"{row['selection']}, {size(row['shape'])}", row["depth"],
            *(figure(row["seconds"][who]) for who in ("one", "threads", "processes")),
            ratio_text(row["processes_over_threads"]), ratio_text(row["one_over_threads"]),
        )
        for row in found["cases"]
    ]  # fmt: skip
    return table(header, rows)


def tell_slice(found: Found) -> str:
    """The first slice beside covering blocks."""
    header = ("project", "slice", "halo", "opened and computed, s", "computed, s", "our blocks, s",
              "vigra's blocks, s", "blocks / slice", "vigra / slice", "vigra's forest, µs a row",
              "project opened, s")  # fmt: skip
    rows = [
        (
            f"{row['selection']}, {row['depth']} forest", size(row["slice"]), str(max(row["halo"])),
            *(figure(row["seconds"][who]) for who in ("ours", "ours_compute")),
            f"{figure(row['seconds']['ours_blocks'])} ({row['blocks']})",
            f"{figure(row['vigra_seconds'])} ({row['vigra_blocks_measured']} measured)",
            ratio_text(row["ours_blocks_over_ours"]), ratio_text(row["vigra_over_ours"]),
            figure(row["vigra_us_per_row"]), figure(row["seconds"]["open_project"]),
        )
        for row in found["slices"]
    ]  # fmt: skip
    return table(header, rows)


def tell_start(found: Found) -> str:
    """Imports, commands, compilation."""
    imports = [
        (
            f"`{row['module']}`", figure(row["seconds"], 2), ", ".join(row["heavy"]) or "nothing",
            ", ".join(f"{name} {took:.2f}" for name, took in list(row["costliest"].items())[:4]),
        )
        for row in found["imports"]
    ]  # fmt: skip
    commands = [(name, figure(seconds, 2)) for name, seconds in found["commands"].items()]
    compiling = [(f"kernels, {name}", figure(seconds, 2)) for name, seconds in found["compiling"].items()]
    return (
        table(("import", "seconds", "heavy packages that come along", "costliest, seconds"), imports)
        + "\n"
        + table(("whole processes, and compilation", "seconds"), [*commands, *compiling])
    )


def tell_roofline(found: Found) -> str:
    """Peaks, and how near each stack comes."""
    peaks = (
        f"Measured on one core: {found['flops'] / 1e9:.0f} Gflop/s of float32 multiply-adds; "
        f"{found['bandwidth']['memory'] / 1e9:.1f} GB/s to memory, {found['bandwidth']['L2'] / 1e9:.0f} GB/s within "
        "the second-level cache (two arrays read, one written).\n\n"
    )
    header = ("features", "operations", "of these in filters", "bytes of memory", "bytes of cache", "ns by operations",
              "ns by memory", "ns by cache", "ns measured", "share of the peak")  # fmt: skip
    rows = [
        (
            row["selection"],
            *(f"{row[key]:.0f}" for key in ("operations", "filtering", "bytes", "cached_bytes")),
            *(figure(row[key]) for key in ("least_by_operations", "least_by_memory", "least_by_cache", "ns_per_voxel")),
            f"{row['share_of_peak']:.0%}",
        )
        for row in found["stacks"]
    ]  # fmt: skip
    return peaks + table(header, rows)


def tell_labels(found: Found) -> str:
    """Ours beside dask-image, and the large map."""
    header = ("map", "objects", "dask-image, s", "ours, s", "ours lazily, s", "dask-image / ours",
              "dask-image / lazily", "dask-image's peak, MiB", "our peak, MiB")  # fmt: skip
    rows = [
        (
            size(row["shape"]), f"{row['objects']:,}",
            *(figure(row["runs"].get(way, {}).get("seconds")) for way in ("dask-image", "threads", "lazy")),
            *(figure(row[f"peer_over_{way}"]) for way in ("threads", "lazy")),
            *(figure(_mebibytes(row["runs"].get(way))) for way in ("dask-image", "threads")),
        )
        for row in found["ladder"]
    ]  # fmt: skip
    large = found["large"]
    steps = ", ".join(f"{step} {count}" for step, count in large["tasks"].items() if step not in ("blocks", "levels"))
    return table(header, rows) + (
        f"\nTwo processes on {size(large['shape'])} with {large['objects']:,} objects, smoothed: "
        f"{large['seconds']:.0f} s; {(large['peak'] - large['base']) / MIB:.0f} MiB above the imports, three processes "
        f"summed; {large['scratch'] / MIB:.0f} MiB of files between the steps; tasks for {large['tasks']['blocks']} "
        f"blocks: {steps}.\n"
    )


def _mebibytes(run: Found | None) -> float | None:
    return None if run is None else run["peak"] / MIB
