"""Every item of the old services' checklist that is about a service has a test that names it."""

from __future__ import annotations

import re
from pathlib import Path

# Sections B, E, G and H; the others are answered in docs/how-to/from-ilastik-backend.md.
ITEMS = {*range(17, 31), *range(40, 50), *range(56, 69)}


def test_every_item_is_ticked() -> None:
    ticked: set[int] = set()
    for module in sorted(Path(__file__).parent.glob("test_old_*.py")):
        for name in re.findall(r"^def test_items?_(\w+)\(", module.read_text(encoding="utf-8"), re.MULTILINE):
            numbers = re.match(r"(\d+_(?:and_)?)+", name)
            assert numbers is not None, name
            ticked |= {int(number) for number in re.findall(r"\d+", numbers[0])}
    assert sorted(ITEMS - ticked) == []
