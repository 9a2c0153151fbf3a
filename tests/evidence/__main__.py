"""The page about the tests, from what was found: ``python -m tests.evidence > docs/explanation/tests.md``.

What is beside this file was written by ``python -m tests.mutants`` (mutants.jsonl), ``python -m tests.fuzz``
(fuzz.json), and from what ``make coverage`` counted by ``--lines build/coverage/lines.json`` (lines.json). Of mutants
that survived, equivalent.toml says why nothing can catch them.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.tables import table

FOLDER = Path(__file__).parent
Found = Mapping[str, Any]

MUTANTS = """## Changed programs

`python -m tests.mutants --count 100 --seed 1` makes small changes of what everything leans on, one at a time in a copy
of the tree: a comparison turned, a number one more, a call left out. The tests of the changed module are run there; a
change that they do not notice has *survived*. Kernels are compiled anew for each.
"""
FUZZ = """## Hostile input

`python -m tests.fuzz --inputs 10000` feeds everything that reads a file or a request. Each input has to be read, or
refused in one line, within 5 seconds of a core and within a bound of memory; whatever else happens is a finding, be it
another exception, a crash, a hang, or a status of 500. The rows were found one by one, by code of the same day.
"""
LINES = """## Lines

`make coverage` runs all the tests and counts the lines that they reach, in commands, workers and servers, too. Compiled
loops are left out: twins in plain Python and the changed programs above hold them.
"""


def write_page(mutants: list[Found], reasons: Mapping[str, str], fuzz: Found | None, lines: Found | None) -> str:
    """The page; what was not measured is left out."""
    parts = ["# What the tests are worth\n", "Written by `python -m tests.evidence`.\n"]
    if mutants:
        parts += [MUTANTS, _tell_areas(mutants, reasons), _tell_survivors(mutants, reasons)]
    if fuzz is not None:
        parts += [FUZZ, _tell_readers(fuzz["readers"])]
    if lines is not None:
        parts += [LINES, _tell_lines(lines)]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def key_of(mutant: Found) -> str:
    """Names a mutant in equivalent.toml: the file, and the line as it is then."""
    return f"{mutant['path']}: {mutant['diff'][-1][1:].strip()}"


def _tell_areas(mutants: list[Found], reasons: Mapping[str, str]) -> str:
    count: Counter[tuple[str, str]] = Counter()
    for mutant in mutants:
        count[mutant["area"], _outcome(mutant, reasons)] += 1
    areas = list(dict.fromkeys(mutant["area"] for mutant in mutants))
    outcomes = ("caught", "caught since", "survived", "the same program")
    rows = [(area, *(str(count[area, outcome]) for outcome in outcomes)) for area in areas]
    total = [sum(count[area, outcome] for area in areas) for outcome in outcomes]
    rows.append(("all", *map(str, total)))
    caught = total[0] + total[1]
    share = caught / max(caught + total[2], 1)
    said = (
        f"{caught} of {len(mutants)} are caught, {share:.0%} of those that are another program; {total[1]} of them by "
        "tests that were added because they had survived.\n"
    )
    return f"{table(('area', *outcomes), rows)}\n{said}"


def _outcome(mutant: Found, reasons: Mapping[str, str]) -> str:
    if mutant["outcome"] == "survived":
        return "the same program" if key_of(mutant) in reasons else "survived"
    return "caught since" if mutant.get("at_first") == "survived" else "caught"


def _tell_survivors(mutants: list[Found], reasons: Mapping[str, str]) -> str:
    lines = ["Those that survived:\n"]
    for mutant in mutants:
        if mutant["outcome"] == "survived":
            before, after = (" ".join(line[1:].strip() for line in mutant["diff"] if line[0] == sign) for sign in "-+")
            why = reasons.get(key_of(mutant), "no test notices it")
            lines.append(f"- `{mutant['path']}`: `{before}` became `{after}`: {why}")
    return "\n".join(lines)


def _tell_readers(readers: list[Found]) -> str:
    names = ("inputs", "well", "refused", "findings")
    rows = [
        (row["reader"], *(f"{row[name]:,}" for name in names), f"{row['seconds']:.2f} s", f"{row['mib']} MiB")
        for row in readers
    ]
    total = (f"{sum(row[name] for row in readers):,}" for name in names)
    slowest, largest = (max(row[name] for row in readers) for name in ("seconds", "mib"))
    rows.append(("all", *total, f"{slowest:.2f} s", f"{largest} MiB"))
    return table(("reader", "inputs", "read", "refused", "findings", "slowest", "most memory"), rows)


def _tell_lines(lines: Found) -> str:
    rows = [
        (package, f"{found['covered']:,} of {found['lines']:,}", f"{found['covered'] / found['lines']:.1%}")
        for package, found in lines["packages"].items()
    ]
    return table(("package", "lines reached", "share"), rows)


def keep_lines(measured: Path, kept: Path) -> None:
    """Keep what coverage counted, by package.

    Parameters
    ----------
    measured : Path
        Coverage's own report in JSON.
    kept : Path
        lines.json.
    """
    packages: dict[str, Counter[str]] = {}
    for path, file in json.loads(measured.read_text("utf-8"))["files"].items():
        found = packages.setdefault(path.split("/")[0], Counter())
        found.update(lines=file["summary"]["num_statements"], covered=file["summary"]["covered_lines"])
    packages["all"] = sum(packages.values(), Counter())
    kept.write_text(json.dumps({"packages": packages}, indent=1) + "\n", "utf-8")


def read_found() -> tuple[list[Found], dict[str, str], Found | None, Found | None]:
    """What lies beside this file."""
    mutants = FOLDER / "mutants.jsonl"
    found = [json.loads(line) for line in mutants.read_text("utf-8").splitlines()] if mutants.exists() else []
    reasons = tomllib.loads((FOLDER / "equivalent.toml").read_text("utf-8"))["reasons"]
    fuzz, lines = (
        json.loads(path.read_text("utf-8")) if (path := FOLDER / name).exists() else None
        for name in ("fuzz.json", "lines.json")
    )
    return found, reasons, fuzz, lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.evidence", description="The page about the tests.")
    parser.add_argument("--lines", type=Path, help="first take the totals of coverage's JSON")
    given = parser.parse_args()
    if given.lines is not None:
        keep_lines(given.lines, FOLDER / "lines.json")
    print(write_page(*read_found()), end="")
