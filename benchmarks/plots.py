"""Results as pictures for docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLORS = {"VoxelForest": "#20639b", "vigra": "#ed553b", "scikit": "#f6a01a", "our blocks": "#7fa7c9"}
Found = Mapping[str, Any]


def draw_all(results: Mapping[str, Found], folder: Path) -> dict[str, str]:
    """Draw a picture for each question that has one and was asked; gives file names by question."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    makers = {"features": _draw_features, "forest": _draw_forest, "volume": _draw_volume, "slice": _draw_slice}
    for question, draw in {**makers, "roofline": _draw_roofline}.items():
        if question in results:
            figure = Figure(figsize=(9, 3.6), layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure.subplots(), results[question])
            drawn[question] = f"performance-{question}.png"
            figure.savefig(folder / drawn[question], dpi=110, metadata={"Software": None})
    return drawn


def _draw_bars(axes: Axes, groups: Sequence[str], bars: Mapping[str, Sequence[tuple[float | None, str]]]) -> None:
    """Bars side by side on a logarithmic axis: for each name the height and the label in each group."""
    width = 0.8 / len(bars)
    for i, (name, values) in enumerate(bars.items()):
        for group, (value, label) in enumerate(values):
            if value is not None:
                at = group + (i - (len(bars) - 1) / 2) * width
                axes.bar(at, value, width * 0.94, color=COLORS[name], label=name if group == 0 else None)
                axes.annotate(label, (at, value), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    heights = [value for values in bars.values() for value, _ in values if value is not None]
    axes.set_yscale("log")
    axes.set_ylim(min(heights) / 3, max(heights) * 2)
    axes.set_xticks(range(len(groups)), groups)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _plain(values: Iterable[float | None]) -> list[tuple[float | None, str]]:
    return [(value, "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2g}") for value in values]


def _times(values: Iterable[float | None], ratios: Iterable[Found]) -> list[tuple[float | None, str]]:
    """Heights, labelled with the median of a ratio."""
    return [
        (value, "" if ratio["median"] is None else f"{ratio['median']:.3g}×")
        for value, ratio in zip(values, ratios, strict=True)
    ]


def _draw_features(axes: Axes, found: Found) -> None:
    rows = found["stacks"]
    bars = {
        "VoxelForest": _plain(row["ns_per_voxel"]["ours"] for row in rows),
        "vigra": _times((row["ns_per_voxel"]["vigra"] for row in rows), (row["vigra_over_ours"] for row in rows)),
    }
    _draw_bars(axes, [f"{row['selection']}\n{row['columns']} columns" for row in rows], bars)
    axes.set(title="Feature stacks, one core", ylabel="ns a voxel")


def _draw_forest(axes: Axes, found: Found) -> None:
    rows = found["forests"]
    bars = {"VoxelForest": _plain(row["us_per_row"]["ours"] for row in rows)}
    for label, key in (("vigra", "vigra"), ("scikit", "sklearn")):
        bars[label] = _times((row["us_per_row"][key] for row in rows), (row[f"{key}_over_ours"] for row in rows))
    _draw_bars(axes, [f"{row['depth']}\n{row['nodes_per_tree']:.0f} nodes a tree" for row in rows], bars)
    axes.set(title=f"Forests of {rows[0]['trees']} trees, one core", ylabel="µs a voxel")


def _draw_volume(axes: Axes, found: Found) -> None:
    rows = found["volumes"]
    bars = {"VoxelForest": _plain(row["ns_per_voxel"]["ours"] for row in rows)}
    for peer in ("vigra", "scikit"):
        bars[peer] = _times((row["ns_per_voxel"][peer] for row in rows), (row[f"{peer}_over_ours"] for row in rows))
    _draw_bars(axes, [f"{row['selection']}\n{row['depth']} forest" for row in rows], bars)
    axes.set(title=f"Whole volumes, {found['cores']} cores", ylabel="ns a voxel")


def _draw_slice(axes: Axes, found: Found) -> None:
    rows = found["slices"]
    blocks = [row["seconds"]["ours_blocks"] for row in rows]
    bars = {
        "VoxelForest": _plain(row["seconds"]["ours"] for row in rows),
        "our blocks": _times(blocks, [row["ours_blocks_over_ours"] for row in rows]),
        "vigra": _times([row["vigra_seconds"] for row in rows], [row["vigra_over_ours"] for row in rows]),
    }
    _draw_bars(axes, [f"{row['selection']}\n{row['depth']} forest" for row in rows], bars)
    axes.set(title=f"The first slice, {'×'.join(map(str, rows[0]['slice']))} pixels, one core", ylabel="seconds")


def _draw_roofline(axes: Axes, found: Found) -> None:
    """Operations a second over operations a byte that must come from memory, below the measured roof."""
    flops, memory = found["flops"] / 1e9, found["bandwidth"]["memory"] / 1e9
    intensity = [row["operations"] / row["bytes"] for row in found["stacks"]]
    reach = (0.5, 3 * max(intensity))
    axes.plot([reach[0], flops / memory, reach[1]], [reach[0] * memory, flops, flops], color="black")
    for i, (x, row) in enumerate(sorted(zip(intensity, found["stacks"], strict=True), key=lambda pair: pair[0])):
        y = row["operations"] / row["ns_per_voxel"]
        text = f"{row['selection']}, {row['share_of_peak']:.0%}"
        axes.plot(x, y, "o", color=COLORS["VoxelForest"])
        axes.annotate(text, (x, y), (0, (8, -16)[i % 2]), textcoords="offset points", ha="center", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="operations a byte of memory", ylabel="Gflop/s")
    axes.set_ylim(bottom=min(row["operations"] / row["ns_per_voxel"] for row in found["stacks"]) / 2)
    axes.set_title("Feature stacks below the roof of one core")
    axes.spines[["top", "right"]].set_visible(False)
