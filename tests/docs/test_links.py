"""Links and pictures of the README and the docs lead to what is there; what is elsewhere is not asked.

Other sites are not reached by tests: their addresses have to be whole, encrypted, and on hosts that somebody looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import screenshots
from tests.docs.pages import PAGES, ROOT

LINK = re.compile(r"(?P<picture>!?)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
KNOWN_HOSTS = {
    *("www.ilastik.org", "api.boss.neurodata.io", "github.com", "imagej.net", "jobqueue.dask.org"),
    "distributed.dask.org",
}
LINKING = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


def _links(page: Path) -> Iterator[re.Match[str]]:
    """Outside of blocks of code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    yield from LINK.finditer(re.sub(r"`[^`\n]*`", "`code`", text))


def _anchors(page: Path) -> set[str]:
    """Names of headings, as they are linked to."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_what_is_there(page: Path) -> None:
    wrong = []
    for link in _links(page):
        address = urlsplit(link["target"])
        if address.scheme or address.netloc:
            fine = address.scheme == "https" and address.hostname in KNOWN_HOSTS
        else:
            target = (page.parent / address.path).resolve() if address.path else page
            fine = target.exists() and target.is_relative_to(ROOT)
            if fine and address.fragment:
                fine = target.suffix == ".md" and address.fragment in _anchors(target)
        if not fine:
            wrong.append(link["target"])
    assert wrong == []


def test_pictures_are_made_by_one_script() -> None:
    """All that is shown lies in one folder, all that lies there is shown, and `tests.screenshots` makes it."""
    shown = {(page.parent / link["target"]).resolve() for page in LINKING for link in _links(page) if link["picture"]}
    assert shown == set(screenshots.FOLDER.iterdir())
    makers = tuple(screenshots.MAKERS)
    assert [path.name for path in shown if not path.name.startswith(makers)] == []
    assert all(any(path.name.startswith(maker) for path in shown) for maker in makers)
