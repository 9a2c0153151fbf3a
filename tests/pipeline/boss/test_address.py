"""Names and URLs of the archive: what is let through, and what never gets into a request."""

from __future__ import annotations

import pytest

from pipeline.boss import channel_name
from pipeline.boss.address import Address, check_name, parse_address, parse_names, parse_url
from pipeline.errors import ArchiveError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.boss.neurodata.io", ("https", "api.boss.neurodata.io")),
        ("http://127.0.0.1:8080/", ("http", "127.0.0.1:8080")),
        ("http://[::1]:80", ("http", "[::1]:80")),
    ],
)
def test_url_is_protocol_and_host(text: str, expected: tuple[str, str]) -> None:
    assert parse_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "api.boss.neurodata.io",
            "ftp://a.b",
            "https://",
            "https://user@a.b",
            "https://a.b/v1",
            "https://a.b?x=1",
        ),
        *("https://a.b:0", "https://a.b:65536", "https://a b", "https://a.b\nhost = c.d", "https://a%b", "HTTPS://a.b"),
    ],
)
def test_other_urls_are_refused(text: str) -> None:
    with pytest.raises(ArchiveError, match="VOXELFOREST_BOSS_URL is to be https://name") as caught:
        parse_url(text)
    assert "\n" not in str(caught.value)
    assert caught.value.code == "url"


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a?b", "a b", "a%2e", "ä", "a\n", "x" * 256])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ArchiveError, match="cannot be the name of a channel: allowed are") as caught:
        check_name("a channel", text)
    assert "\n" not in str(caught.value)


def test_address_with_everything() -> None:
    found = parse_address("boss://col/exp?z=0:24&x=5:6&channel=PSD95,Synapsin_1&version=2")
    assert found == Address("col", "exp", {"z": (0, 24), "x": (5, 6)}, ("PSD95", "Synapsin_1"), "2")
    assert parse_address("boss://col/exp/") == Address("col", "exp")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("boss://col", "should be collection/experiment"),
        ("boss://col/exp/channel", "should be collection/experiment"),
        ("boss:///exp", "'' cannot be the name of a collection"),
        ("boss://col/exp?z=5", "z='5' is no range"),
        ("boss://col/exp?z=5:5", "is no range"),
        ("boss://col/exp?z=-1:5", "is no range"),
        ("boss://col/exp?z=1:5:2", "is no range"),
        ("boss://col/exp?z=1_0:20", "is no range"),
        ("boss://col/exp?z=٣:20", "is no range"),
        ("boss://col/exp?z=0:1&z=0:2", "z is given twice"),
        ("boss://col/exp?channel=a,a", "a channel is named twice"),
        ("boss://col/exp?channel=", "'' cannot be the name of a channel"),
        ("boss://col/exp?token=abc", "'token' is not known; known are z, y, x, channel and version"),
        ("boss://col/exp?", "'' is not known"),
    ],
)
def test_address_that_is_not_understood_says_why(text: str, reason: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        parse_address(text)
    assert reason in str(caught.value)


def test_names_of_a_target() -> None:
    assert parse_names("collman_nomads/nomads_predictions") == ("collman_nomads", "nomads_predictions")
    with pytest.raises(ArchiveError, match="should be collection/experiment"):
        parse_names("collman_nomads")


def test_channel_of_a_result() -> None:
    assert channel_name("job_z_0_24", "Gaba") == "job_z_0_24_Gaba"
    with pytest.raises(ArchiveError, match="255 at most"):
        channel_name("k" * 252, "Gaba")
