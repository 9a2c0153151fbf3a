"""What chaos of jobs found, for docs/how-to/jobs.md: ``python -m tests.jobs_chaos_page`` after a run with ``--out``."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("jobs_chaos.json")
PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "jobs.md"
WIDTH = 125  # of lines of the page
BEGIN, END = "<!-- made by tests.jobs_chaos_page -->\n", "<!-- end -->\n"
NAMES = {
    "runner": "processes of jobs",
    "worker": "workers",
    "web": "first processes of the server",
    "keeper": "keepers",
    "answering": "answering processes",
    "scheduler": "schedulers",
}


def tell(found: Mapping[str, Any]) -> str:
    """A run in a few sentences."""
    killed = ", ".join(f"{found['killed'][kind]} {name}" for kind, name in NAMES.items() if kind in found["killed"])
    ended = ", ".join(f"{count} {state}" for state, count in sorted(found["jobs"].items()))
    twice = f"{found['sent twice']} of them twice" if found["sent twice"] else "none of them twice"
    text = (
        "`python -m tests.jobs_chaos` kills processes with SIGKILL at random moments while jobs are asked for, and the "
        "archive and the mail server fail now and then. "
        f"In the latest long run, of {found['minutes']:.0f} minutes, there were {found['kills']} kills: {killed}. "
        f"All {sum(found['jobs'].values())} jobs came to their end ({ended}), each computed to its end once, "
        f"with the right bytes here and in the archive. {found['mails']} mails went out, {twice}, "
        f"with {found['links']} links that work; no token was in anything that was written."
    )
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def fill(page: str, text: str) -> str:
    """The page with the text between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{text}{END}{rest.partition(END)[2]}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), tell(json.loads(RESULTS.read_bytes()))), encoding="utf-8")


if __name__ == "__main__":
    main()
