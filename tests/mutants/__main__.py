"""Whether the tests notice when the code is wrong: ``python -m tests.mutants --count 100 --seed 1``.

Small changes are sampled over what everything leans on (tests/mutants/areas.py), each is made in a copy of the tree,
and the tests of that module are run there. Results are kept as they come, and a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.mutants.areas import ROOT, Mutant, sample
from tests.mutants.workshop import Workshop, preload


def describe(mutant: Mutant) -> dict[str, Any]:
    """What a mutant is; the same for the same source."""
    path = str(mutant.target.path)
    diff = mutant.mutation.diff((ROOT / path).read_text())
    kind, line, start = mutant.mutation.kind, mutant.mutation.line, mutant.mutation.start
    return {"area": mutant.area, "path": path, "line": line, "start": start, "kind": kind, "diff": diff}


def _key(said: dict[str, Any]) -> str:
    """Tells mutants apart."""
    return json.dumps([said["path"], said["start"], said["diff"]])


def read_results(path: Path) -> list[dict[str, Any]]:
    """Results that were kept."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    """Judge mutants, keep what was found, and sum it up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutants" / "results.jsonl")
    parser.add_argument("--again", action="store_true", help="judge those that survived once more")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    known = read_results(given.out)
    survived = {_key(one) for one in known if one["outcome"] == "survived"} if given.again else set()
    if given.again:
        known = [one for one in known if _key(one) not in survived]
        given.out.write_text("".join(json.dumps(one) + "\n" for one in known))
    done = {_key(one) for one in known}
    waiting = []
    for mutant in sample(given.count, given.seed):
        said = describe(mutant)
        if _key(said) not in done:
            waiting.append((mutant, {**said, "at_first": "survived"} if _key(said) in survived else said))
    if waiting:
        _judge_all(waiting, given.out)
    _sum_up(read_results(given.out))


def _judge_all(waiting: list[tuple[Mutant, dict[str, Any]]], out: Path) -> None:
    preload()
    workshop = Workshop(out.parent.resolve())
    files = {file for mutant, _ in waiting for file in mutant.target.test_files}
    began = time.monotonic()
    failing = workshop.measure(files)
    print(f"{len(files)} test files without mutation: {time.monotonic() - began:.0f} s", flush=True)
    if failing:
        print("fail anyway, and are left out:", *failing, flush=True)
    for number, (mutant, said) in enumerate(waiting, 1):
        verdict = workshop.judge(mutant)
        with out.open("a") as file:
            file.write(json.dumps({**said, **vars(verdict)}) + "\n")
        changed = " ".join(line.strip() for line in said["diff"])
        place = f"{said['path']}:{said['line']}"
        print(f"{number:3} {verdict.outcome:8} {verdict.seconds:6.1f} s {place} {changed} {verdict.by}", flush=True)


def _sum_up(results: list[dict[str, Any]]) -> None:
    count = Counter((one["area"], one["outcome"]) for one in results)
    for area in dict.fromkeys(one["area"] for one in results):
        print(f"{area:20} {count[area, 'caught']:3} caught {count[area, 'survived']:3} survived")
    caught = sum(one["outcome"] == "caught" for one in results)
    print(f"{caught} of {len(results)} mutants were caught")
    for one in results:
        if one["outcome"] == "survived":
            print(f"{one['path']}:{one['line']}", *one["diff"], sep="\n    ")


if __name__ == "__main__":
    main()
