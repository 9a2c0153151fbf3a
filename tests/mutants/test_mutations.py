"""Mutations are other programs, and leave alone what people read."""

from __future__ import annotations

import ast

from tests.mutants.areas import AREAS, ROOT, sample
from tests.mutants.mutations import find

SOURCE = '''
"""Adds 1."""
from functools import cache

@cache
def add(values: list[int], wanted: bool = True) -> "int | None":
    """Adds 2."""
    if not wanted and len(values) > 3:
        raise ValueError(f"more than {3} values")
    total = 0
    for value in values[first : last]:
        total += value * 2
    check(total)
    return total
'''


def test_each_kind_is_found_and_can_be_read() -> None:
    found = find(SOURCE)
    kinds = {"comparison", "arithmetic", "constant", "boolean", "condition", "return", "call", "slice"}
    assert {one.kind for one in found} == kinds
    changed = [one.apply(SOURCE) for one in found]
    assert len({ast.dump(ast.parse(source)) for source in changed} | {ast.dump(ast.parse(SOURCE))}) == len(found) + 1


def test_what_people_read_is_left_alone() -> None:
    touched = {one.line for one in find(SOURCE)}
    lines = SOURCE.splitlines()
    assert not touched & {number for number, line in enumerate(lines, 1) if '"""' in line or "raise" in line}
    assert all("list[int]" not in one.before and one.before != "cache" for one in find(SOURCE))


def test_a_longer_sample_goes_on_where_a_shorter_one_ends() -> None:
    short, long = sample(20, 7), sample(40, 7)
    assert long[:20] == short
    assert {mutant.area for mutant in short} == set(AREAS)


def test_every_module_has_tests() -> None:
    targets = [target for targets in AREAS.values() for target in targets]
    assert [target.module for target in targets if not (ROOT / target.path).is_file() or not target.test_files] == []
    assert all(find((ROOT / target.path).read_text(), target.functions) for target in targets if target.functions)
