"""docs/performance.md and its pictures from the results: ``python -m benchmarks.report``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import plots, serving_tables, tables
from benchmarks.goals import Results, list_goals

SECTIONS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "features": ("Features", tables.tell_features),
    "forest": ("Forest", tables.tell_forest),
    "volume": ("Whole volumes", tables.tell_volume),
    "memory": ("Memory", tables.tell_memory),
    "second_core": ("A second core", tables.tell_second_core),
    "slice": ("The first slice", tables.tell_slice),
    "start": ("Starting", tables.tell_start),
    "labels": ("Objects", tables.tell_labels),
    "serve": ("Serving", serving_tables.tell_serving),
    "shape": ("The shape of a request", serving_tables.tell_shares),
    "roofline": ("Roofline", tables.tell_roofline),
}
FROM = {"memory": "volume"}
"""The question that a section is from, where it has another name."""


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """All results in a folder, by question."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def write_report(results: Results, docs: Path, texts: Path) -> Path:
    """Write the page and its pictures.

    Parameters
    ----------
    results : mapping
        Documents by question, at least one.
    docs : Path
        Folder of the page; pictures go into ``images`` below it.
    texts : Path
        The words around the figures: a paragraph for each section below its name as a heading.

    Returns
    -------
    Path
        The page.
    """
    words = read_texts(texts)
    pictures = plots.draw_all(results, docs / "images")
    sizes = sorted({found["size"] for found in results.values()})
    parts = [
        "# Performance\n",
        "Written by `python -m benchmarks.report` from `benchmarks/results/` and `benchmarks/texts.md`.\n",
        words["Start of the page"],
        "**Machine:** " + tables.tell_machine(next(iter(results.values()))),
        "" if sizes == ["full"] else f"Sizes: {', '.join(sizes)}; only those of the size full are to be quoted.\n",
        "## Goals\n",
        tables.tell_goals(list_goals(results)),
    ]
    for name, (title, tell) in SECTIONS.items():
        question = FROM.get(name, name)
        if question in results:
            picture = f"![{title}](images/{pictures[name]})\n" if name in pictures else ""
            parts += [f"## {title}\n", words[title], picture, tell(results[question])]
    parts += [f"## {title}\n\n{words[title]}" for title in ("Goals not met", "What is not faster", "Method")]
    page = docs / "performance.md"
    page.write_text("\n".join(part for part in parts if part), encoding="utf-8")
    return page


def read_texts(path: Path) -> dict[str, str]:
    """What stands below each heading of a Markdown file, by the heading."""
    blocks = path.read_text(encoding="utf-8").split("\n## ")[1:]
    pairs = (block.split("\n", 1) for block in blocks)
    return {title.strip(): text.strip() + "\n" for title, text in pairs}


def main() -> None:
    """Read, write, and print the table of goals."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    chosen = parser.parse_args()
    results = read_results(chosen.results)
    if not results:
        parser.error(f"no results in {chosen.results}; python -m benchmarks makes them")
    page = write_report(results, chosen.docs, Path(__file__).with_name("texts.md"))
    print(tables.tell_goals(list_goals(results)))
    print(page)


if __name__ == "__main__":
    main()
