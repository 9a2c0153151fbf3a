"""What was aimed at, and what the results say to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MIB = 2**20
Results = Mapping[str, Mapping[str, Any]]
"""The documents of the questions, by name; a question that was not asked is missing."""

FEATURE_GOALS = {"small-3d": 16}
OTHER_FEATURES = 12
FOREST_GOALS = {"shallow": 25, "ordinary": 8, "deep": 10}
SKLEARN_GOAL = 8
VOLUME_GOALS = {"small-3d": 20, "mid-3d": 20, "plane-33": 9, "channels-75": 9}
SCIKIT_GOAL = 20


@dataclass(frozen=True)
class Goal:
    """One line of the table of goals.

    Parameters
    ----------
    work, aim : str
        What, and how it is to be.
    found : float
        The figure; NaN if it was not measured.
    needed : float
        What `found` must reach, or must not pass if `at_most`.
    shown : str
        The figure as it is printed.
    at_most : bool
    """

    work: str
    aim: str
    found: float
    needed: float
    shown: str
    at_most: bool = False

    @property
    def verdict(self) -> str:
        """``yes``, ``no``, or ``missing`` where there is no figure."""
        if math.isnan(self.found):
            return "missing"
        met = self.found <= self.needed if self.at_most else self.found >= self.needed
        return "yes" if met else "**no**"


def number(value: float | None) -> float:
    """A figure of a result; NaN where there was none."""
    return math.nan if value is None else float(value)


def ratio_text(ratio: Mapping[str, Any]) -> str:
    """A ratio as it is printed: median, and the spread of the pairs."""
    if ratio["median"] is None:
        return "missing"
    spread = f" ({_short(ratio['least'])}–{_short(ratio['most'])})" if ratio["pairs"] > 1 else ""
    return f"{_short(ratio['median'])}×{spread}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def list_goals(results: Results) -> list[Goal]:
    """All goals whose question was asked, in the order of the questions."""
    makers = {
        "features": _goals_of_features,
        "forest": _goals_of_forest,
        "volume": _goals_of_volume,
        "second_core": _goals_of_second_core,
        "slice": _goals_of_slice,
        "start": _goals_of_start,
        "labels": _goals_of_labels,
        "serve": _goals_of_serving,
    }
    return [goal for name, make in makers.items() if name in results for goal in make(results[name])]


def _at_least(work: str, ratio: Mapping[str, Any], needed: float, whom: str) -> Goal:
    return Goal(work, f"≥ {needed:g}× {whom}", number(ratio["median"]), needed, ratio_text(ratio))


def _goals_of_features(found: Mapping[str, Any]) -> list[Goal]:
    return [
        _at_least(
            f"features, {row['selection']}, one core",
            row["vigra_over_ours"],
            FEATURE_GOALS.get(row["selection"], OTHER_FEATURES),
            "vigra",
        )
        for row in found["stacks"]
    ]


def _goals_of_forest(found: Mapping[str, Any]) -> list[Goal]:
    goals = []
    for row in found["forests"]:
        work = f"forest, {row['depth']}, {row['nodes_per_tree']:.0f} nodes a tree, one core"
        goals.append(_at_least(work, row["vigra_over_ours"], FOREST_GOALS[row["depth"]], "vigra"))
        same = math.nan if row["same_bits_as_vigra"] is None else float(row["same_bits_as_vigra"])
        shown = {1.0: "equal", 0.0: "not equal"}.get(same, "missing")
        goals.append(Goal(work, "vigra's bits", same, 1.0, shown))
        goals.append(_at_least(work, row["sklearn_over_ours"], SKLEARN_GOAL, "scikit-learn"))
        difference = row["difference_to_sklearn"]
        goals.append(Goal(work, "≤ 1e-6 from scikit-learn", difference, 1e-6, f"{difference:.1e}", at_most=True))
    return goals


def _goals_of_volume(found: Mapping[str, Any]) -> list[Goal]:
    goals = []
    for row in found["volumes"]:
        work = f"volume, {row['selection']}, {row['depth']} forest, {found['cores']} cores"
        goals.append(_at_least(work, row["vigra_over_ours"], VOLUME_GOALS[row["selection"]], "vigra's pipeline"))
        goals.append(_at_least(work, row["scikit_over_ours"], SCIKIT_GOAL, "scikit-image and scikit-learn"))
    most = max((row["peak"] - row["imports"] for row in found["memory"]), default=math.nan) / MIB
    work = "peak memory of a run above the interpreter with its imports"
    goals.append(Goal(work, "≤ 350 MiB", most, 350.0, f"{most:.0f} MiB", at_most=True))
    return goals


def _goals_of_second_core(found: Mapping[str, Any]) -> list[Goal]:
    return [
        _at_least(f"second core, {row['selection']}", row["processes_over_threads"], 0.95, "two processes")
        for row in found["cases"]
    ]


def _goals_of_slice(found: Mapping[str, Any]) -> list[Goal]:
    goals = []
    for row in found["slices"]:
        work = f"first slice, {row['selection']}, {row['depth']} forest, one core"
        goals.append(_at_least(work, row["ours_blocks_over_ours"], 20, "faster than our blocks"))
        goals.append(_at_least(work, row["vigra_over_ours"], 150, "faster than vigra's blocks"))
        seconds, allowed = row["seconds"]["ours"], number(row["allowed_seconds"])
        found_or_not = math.nan if math.isnan(allowed) else seconds
        aim = "≤ 0.15 s × v / 2.5 µs" + ("" if math.isnan(allowed) else f" = {allowed:.3f} s")
        goals.append(Goal(work, aim, found_or_not, allowed, f"{seconds:.3f} s", at_most=True))
    return goals


def _goals_of_start(found: Mapping[str, Any]) -> list[Goal]:
    light = ("pipeline", "pipeline.project")
    heavy: Sequence[str] = [name for row in found["imports"] if row["module"] in light for name in row["heavy"]]
    seconds = found["compiling"]["empty cache"]
    return [
        Goal("start, compiling once", "≤ 20 s", seconds, 20.0, f"{seconds:.1f} s", at_most=True),
        Goal(
            "start, importing pipeline and pipeline.project",
            "nothing heavy",
            float(len(heavy)),
            0.0,
            ", ".join(sorted(set(heavy))) or "nothing",
            at_most=True,
        ),
    ]


def _goals_of_labels(found: Mapping[str, Any]) -> list[Goal]:
    last, large, work = found["ladder"][-1] if found["ladder"] else {}, found["large"], "objects across blocks"
    ratio = number(last.get("peer_over_threads"))
    tasks = large["tasks"]
    n = tasks["blocks"]
    total = sum(count for step, count in tasks.items() if step not in ("blocks", "levels"))
    above = (large["peak"] - large["base"]) / MIB
    shown = "missing" if math.isnan(ratio) else f"{_short(ratio)}×"
    return [
        Goal(f"{work}, the largest that it does in 3 minutes", "≥ 5× dask-image", ratio, 5.0, shown),
        Goal(f"{work}, tasks", "≤ 3 a block + n/8", float(total), 3 * n + n / 8, f"{total} for {n}", at_most=True),
        Goal(f"{work}, two processes above their imports", "≤ 1 GiB", above, 1024.0, f"{above:.0f} MiB", at_most=True),
    ]


def _goals_of_serving(found: Mapping[str, Any]) -> list[Goal]:
    panning, crowd, over = (found[name] for name in ("panning", "stampede", "overload"))
    p99, computed, wrong = panning["p99_ms"], crowd["computations"], panning["wrong"]
    refusals = sum(count for status, count in over["statuses"].items() if status not in ("200", "429", "503"))
    viewers = f"serving, {panning['connections']} viewers on a warm region"
    most, back = "serving, overload", number(over["recovered_seconds"])
    return [
        Goal(f"{viewers}, p99", "≤ 25 ms", p99, 25.0, f"{p99:.1f} ms", at_most=True),
        Goal(f"{viewers}, wrong bodies", "none", float(wrong), 0.0, str(wrong), at_most=True),
        Goal(
            f"serving, {crowd['requests']} at once, computations",
            "1",
            float(computed),
            1.0,
            str(computed),
            at_most=True,
        ),
        *(_goal_of_first_slice(first) for first in found["slices"]),
        Goal(f"{most}, other statuses than 200, 429, 503", "none", float(refusals), 0.0, str(refusals), at_most=True),
        Goal(f"{most}, answers again", "≤ 5 s", back, 5.0, f"{back:.1f} s", at_most=True),
    ]


def _goal_of_first_slice(first: Mapping[str, Any]) -> Goal:
    allowed = 0.3 * number(first["vigra_us_per_row"]) / 2.5
    seconds = math.nan if math.isnan(allowed) else first["seconds"]
    aim = "≤ 0.3 s × v / 2.5 µs" + ("" if math.isnan(allowed) else f" = {allowed:.2f} s")
    work = f"serving, first slice, {first['selection']}, {first['depth']} forest"
    return Goal(work, aim, seconds, allowed, f"{first['seconds']:.2f} s", at_most=True)
