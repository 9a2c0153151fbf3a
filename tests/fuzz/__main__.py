"""Everything that reads a file or a request, fed what nobody means well with: ``python -m tests.fuzz --inputs 10000``.

Each input has to end well or be refused in one line, within 5 s of a core and a bounded memory. Findings are written to
build/fuzz, with the input that made them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.fuzz import files, requests, texts
from tests.fuzz.feeding import Tally, feed
from tests.fuzz.reader import MIB, Reader

LINE = "{reader:28} {inputs:7} {well:7} {refused:7} {findings:8} {seconds:7} s {mib:5} MiB"
READERS = (*files.READERS, *texts.READERS, *requests.READERS)


def main() -> None:
    """Feed all readers, and print what came of it; leaves with 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="how many, shared among the readers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", default="", help="readers whose name contains this; what is known of the others is kept"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fuzz")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    chosen = [reader for reader in READERS if given.only in reader.name]
    shares = sum(reader.share for reader in READERS)
    results = given.out / "results.json"
    kept = json.loads(results.read_text("utf-8"))["readers"] if given.only and results.exists() else []
    known = {row["reader"]: row for row in kept}
    print(f"{'reader':28} {'inputs':>7} {'well':>7} {'refused':>7} {'findings':>8} {'slowest':>9} {'largest':>9}")
    for reader in chosen:
        tally = feed(reader, -(-given.inputs * reader.share // shares), given.seed)
        for number, text in enumerate(tally.findings):
            (given.out / f"{reader.name} {number}.txt".replace("/", "_")).write_text(text, encoding="utf-8")
        row = known[reader.name] = _row(reader, tally)
        print(LINE.format(**row), flush=True)
        rows = [known[each.name] for each in READERS if each.name in known]
        results.write_text(json.dumps({"seed": given.seed, "readers": rows}, indent=1) + "\n", encoding="utf-8")
    total = Counter({name: sum(row[name] for row in rows) for name in ("inputs", "well", "refused", "findings")})
    print("{inputs} inputs: {well} ended well, {refused} were refused, {findings} findings".format(**total))
    sys.exit(total["findings"] > 0)


def _row(reader: Reader, tally: Tally) -> dict[str, Any]:
    """What is kept."""
    return {
        "reader": reader.name,
        "inputs": tally.inputs,
        "well": tally.well,
        "refused": tally.refused,
        "findings": len(tally.findings),
        "seconds": round(tally.slowest, 2),
        "mib": round(tally.largest / MIB),
    }


if __name__ == "__main__":
    main()
