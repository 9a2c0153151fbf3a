"""What the page about jobs says of chaos is what the latest run found."""

from __future__ import annotations

import json

from tests.jobs_chaos_page import BEGIN, END, PAGE, RESULTS, fill, tell


def test_page_says_what_was_found() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert (page.count(BEGIN), page.count(END)) == (1, 1)
    assert fill(page, tell(json.loads(RESULTS.read_bytes()))) == page
