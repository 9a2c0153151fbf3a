"""Results as pictures for docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def _draw_bars(axes: Axes, groups: Sequence[str], bars: Mapping[str, Sequence[float | None]], unit: str) -> None:
    """Bars side by side on a logarithmic axis; each but the first says how many times the first it is."""
    width = 0.8 / len(bars)
    base = next(iter(bars.values()))
    for i, (name, values) in enumerate(bars.items()):
        for group, value in enumerate(values):
            if value is None:
                continue
            at = group + (i - (len(bars) - 1) / 2) * width
            axes.bar(at, value, width * 0.94, color=COLORS[name], label=name if group == 0 else None)
            first = base[group]
            text = f"{value:.3g}" if i == 0 or not first else f"{value / first:.0f}×"
            axes.annotate(text, (at, value), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    axes.set_yscale("log")
    axes.margins(y=0.12)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(unit)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _draw_features(axes: Axes, found: Found) -> None:
    rows = found["stacks"]
    names = [f"{row['selection']}\n{row['columns']} columns" for row in rows]
    bars = {"VoxelForest": "ours", "vigra": "vigra"}
    values = {label: [row["ns_per_voxel"][key] for row in rows] for label, key in bars.items()}
    _draw_bars(axes, names, values, "ns a voxel")
    axes.set_title("Feature stacks, one core")


def _draw_forest(axes: Axes, found: Found) -> None:
    rows = found["forests"]
    names = [f"{row['depth']}\n{row['nodes_per_tree']:.0f} nodes a tree" for row in rows]
    bars = {"VoxelForest": "ours", "vigra": "vigra", "scikit": "sklearn"}
    values = {label: [row["us_per_row"][key] for row in rows] for label, key in bars.items()}
    _draw_bars(axes, names, values, "µs a voxel")
    axes.set_title(f"Forests of {rows[0]['trees']} trees, one core")


def _draw_volume(axes: Axes, found: Found) -> None:
    rows = found["volumes"]
    names = [f"{row['selection']}\n{row['depth']} forest" for row in rows]
    bars = {"VoxelForest": "ours", "vigra": "vigra", "scikit": "scikit"}
    values = {label: [row["ns_per_voxel"][key] for row in rows] for label, key in bars.items()}
    _draw_bars(axes, names, values, "ns a voxel")
    axes.set_title(f"Whole volumes, {found['cores']} cores")


def _draw_slice(axes: Axes, found: Found) -> None:
    rows = found["slices"]
    names = [f"{row['selection']}\n{row['depth']} forest" for row in rows]
    values = {
        "VoxelForest": [row["seconds"]["ours"] for row in rows],
        "our blocks": [row["seconds"]["ours_blocks"] for row in rows],
        "vigra": [row["vigra_seconds"] for row in rows],
    }
    _draw_bars(axes, names, values, "seconds")
    edge = "×".join(map(str, rows[0]["slice"]))
    axes.set_title(f"The first slice of {edge} pixels, one core")


def _draw_roofline(axes: Axes, found: Found) -> None:
    """Operations a second over operations a byte that must come from memory, below the measured roof."""
    flops, memory = found["flops"] / 1e9, found["bandwidth"]["memory"] / 1e9
    intensity = [row["operations"] / row["bytes"] for row in found["stacks"]]
    reach = (0.5, 2 * max(intensity))
    axes.plot([reach[0], flops / memory, reach[1]], [reach[0] * memory, flops, flops], color="black")
    for row, x in zip(found["stacks"], intensity, strict=True):
        y = row["operations"] / row["ns_per_voxel"]
        axes.plot(x, y, "o", color=COLORS["VoxelForest"])
        axes.annotate(f"{row['selection']}, {row['share_of_peak']:.0%}", (x, y), (6, -4), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations a byte of memory")
    axes.set_ylabel("Gflop/s")
    axes.set_title("Feature stacks below the roof of one core")
    axes.spines[["top", "right"]].set_visible(False)
