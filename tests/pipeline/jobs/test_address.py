"""One bare address, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.jobs.address import check_address


@pytest.mark.parametrize(
    "address", ["a@lab.example", "a.b+c@lab.example", "o'neill@a-b.museum", " a@lab.example ", "x@1.2.systems"]
)
def test_one_bare_address_is_taken(address: str) -> None:
    assert check_address(address) == address.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a@",
        "@lab.example",
        "a@lab",
        "a@b@lab.example",
        "a@lab.example, b@lab.example",
        "a@lab.example;b@lab.example",
        "A <a@lab.example>",
        "<a@lab.example> SIZE=1",
        "a@lab.example\r\nBcc: b@lab.example",
        "a@lab.example\n",
        "\ta@lab.example",
        "a b@lab.example",
        '"a b"@lab.example',
        "a@-lab.example",
        "a@lab..example",
        ".a@lab.example",
        "a..b@lab.example",
        "a@[127.0.0.1]",
        "ä@lab.example",
        "a@läb.example",
        "a" * 65 + "@lab.example",
        "a@" + "b" * 64 + ".example",
        "a@" + "b." * 130 + "example",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not one e-mail address"):
        check_address(text)


@given(st.text(max_size=30), st.text(max_size=10))
def test_what_is_taken_has_one_at_and_no_blank(head: str, tail: str) -> None:
    for text in (head, f"{head}@{tail}", f"a@lab.example{tail}", f"{head}a@lab.example"):
        try:
            address = check_address(text)
        except ValueError:
            continue
        assert address.isascii()
        assert address.isprintable()
        assert address.count("@") == 1
        assert not set(address) & set(' ,;:<>()[]"\\')
