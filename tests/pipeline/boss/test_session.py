"""What intern does by itself and what goes wrong on the way: the right voxels, or one clear error."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
import trustme

from pipeline.boss import BossArchive
from pipeline.boss.session import Session, session
from pipeline.boss.tokens import ENVIRONMENT
from pipeline.errors import ArchiveError, TokenError, TransientArchiveError, UnknownVolumeError
from pipeline.formats.handles import close_handles
from tests.archive_contents import Archive
from tests.archive_server import serving

BOX = ((2, 10, 20), (18, 26, 36))
PASSING = ["500", "502", "503", "504", "429", "408", "drop", "cut", "short", "shape", "bomb", "long", "page", "gzip"]


def read(archive: Archive, channel: str = "PSD95") -> npt.NDArray[Any]:
    """One block, and whether it is right."""
    asked = session(archive.url, ENVIRONMENT)
    found = asked.read("col", "exp", asked.channel("col", "exp", channel), *BOX)
    np.testing.assert_array_equal(found, archive.places["col", "exp"].channels[channel].data[:16, :16, :16])  # type: ignore[index]
    return found


@pytest.mark.parametrize("kind", PASSING)
def test_failure_that_passes_costs_nothing_but_another_request(archive: Archive, kind: str) -> None:
    archive.fail(kind, times=2)
    read(archive)
    assert archive.counts()["GET cutout"] == 3


@pytest.mark.parametrize("kind", PASSING)
def test_failure_that_stays_is_one_clear_error(archive: Archive, kind: str) -> None:
    archive.fail(kind, times=99)
    with pytest.raises(TransientArchiveError) as caught:
        read(archive)
    message = str(caught.value)
    assert "col/exp/PSD95 z 2:18 y 10:26 x 20:36: no usable answer in 3 tries" in message
    assert "\n" not in message
    assert len(message) < 300
    assert archive.counts()["GET cutout"] == 3


@pytest.mark.parametrize(
    ("kind", "error", "reason"),
    [
        ("401", TokenError, "does not accept the token; it is wrong or has expired"),
        ("403", TokenError, "the token does not allow this"),
        ("404", UnknownVolumeError, "does not have this"),
        ("400", ArchiveError, "the archive answered 400"),
        ("413", ArchiveError, "the archive answered 413"),
        ("elsewhere", ArchiveError, "sends us elsewhere"),
    ],
)
def test_refusal_is_final_at_once(archive: Archive, kind: str, error: type[ArchiveError], reason: str) -> None:
    archive.fail(kind, times=99)
    with pytest.raises(error, match=reason):
        read(archive)
    assert archive.counts()["GET cutout"] == 1
    assert not any("elsewhere" in line for line in archive.requests)


def test_stalled_archive_is_given_up(archive: Archive, set_up: Callable[..., None]) -> None:
    set_up(BOSS_SILENCE_SECONDS=0.1)
    archive.fail("stall", times=1)
    read(archive)
    archive.fail("stall", times=99)
    with pytest.raises(TransientArchiveError, match=r"3 tries: silence for 0\.1 s"):
        read(archive)


def test_answer_in_drops_ends_too(archive: Archive, set_up: Callable[..., None]) -> None:
    set_up(BOSS_SILENCE_SECONDS=5, BOSS_ANSWER_SECONDS=0.2, BOSS_RETRIES=1)
    archive.fail("drip", times=2)
    before = time.monotonic()
    with pytest.raises(TransientArchiveError, match=r"its answer took longer than 0\.2 s"):
        read(archive)
    assert time.monotonic() - before < 60  # byte by byte it would take hundreds of seconds
    read(archive)


def test_connection_that_is_not_accepted_is_given_up(set_up: Callable[..., None]) -> None:
    with socket.socket() as listener, contextlib.ExitStack() as others:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # nobody takes them, and there is no room for more
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        set_up(
            BOSS_URL=f"http://127.0.0.1:{listener.getsockname()[1]}",
            BOSS_TOKEN="writer",
            BOSS_RETRIES=0,
            BOSS_CONNECT_SECONDS=0.2,
        )
        with pytest.raises(TransientArchiveError, match=r"no connection within 0\.2 s"):
            BossArchive().experiment("col", "exp")


def test_certificates_are_verified(
    set_up: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    secure = Archive()
    secure.add("col/exp", (4, 5, 6))
    with serving(secure, context):
        set_up(BOSS_URL=secure.url, BOSS_TOKEN="reader", BOSS_RETRIES=0)
        with pytest.raises(TransientArchiveError, match=r"in 1 tries: certificate verify failed"):
            BossArchive().experiment("col", "exp")
        assert secure.requests == []  # and nobody was shown the token
        authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
        close_handles()
        assert BossArchive().experiment("col", "exp").stop_zyx == (4, 5, 6)


def test_nobody_listening_is_one_clear_error(set_up: Callable[..., None]) -> None:
    set_up(BOSS_URL="http://127.0.0.1:1", BOSS_TOKEN="writer", BOSS_RETRIES=0)
    with pytest.raises(TransientArchiveError, match=r"http://127.0.0.1:1 col/exp: .* in 1 tries: Connection refused"):
        BossArchive().experiment("col", "exp")


def test_number_of_tries_is_a_setting(archive: Archive, set_up: Callable[..., None]) -> None:
    set_up(BOSS_RETRIES=4)
    archive.fail("503", times=4)
    read(archive)
    assert archive.counts()["GET cutout"] == 5


def test_pauses_grow(archive: Archive, monkeypatch: pytest.MonkeyPatch, set_up: Callable[..., None]) -> None:
    slept: list[float] = []
    monkeypatch.setattr("pipeline.formats.retry.FIRST_PAUSE", 0.1)
    monkeypatch.setattr("pipeline.formats.retry.time.sleep", slept.append)
    set_up(BOSS_RETRIES=8)
    archive.fail("503", times=8)
    read(archive)
    assert slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_large_cutout_starts_no_process(archive: Archive, set_up: Callable[..., None]) -> None:
    """intern's own bound is 30.2 million voxels, and 60.4 with ``parallel=False``."""
    shape = (128, 512, 1000)
    set_up(BOSS_BLOCK_BYTES="64MiB")
    archive.add("big/exp", shape)
    archive.add_channel("big/exp/flat", lambda start, stop: np.full(np.subtract(stop, start), 7, "uint8"), "uint8")
    asked, seen, done = session(archive.url, ENVIRONMENT), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen[0] = max(seen[0], len(psutil.Process().children()))

    watcher = threading.Thread(target=watch)
    before = len(psutil.Process().children())
    watcher.start()
    found = asked.read("big", "exp", asked.channel("big", "exp", "flat"), (0, 0, 0), shape)
    done.set()
    watcher.join()
    assert found.shape == shape
    assert (found == 7).all()
    assert seen[0] <= before
    assert archive.counts()["GET cutout"] == 1


def test_token_of_netrc_is_not_taken(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    read(archive)
    assert {headers["Authorization"] for headers in archive.headers} == {"Token writer"}


@pytest.mark.parametrize("token", ["a%b", "good\n[Volume Service]\nprotocol = http\nhost = 127.0.0.1:1\ntoken = x"])
def test_token_cannot_rewrite_the_configuration_of_intern(archive: Archive, token: str) -> None:
    with pytest.raises(TokenError, match="nothing but letters and digits"):
        BossArchive(token=token)
    assert archive.requests == []


def test_zeros_are_written(archive: Archive) -> None:
    asked = session(archive.url, ENVIRONMENT)
    asked.make_channel("out", "results", "r")
    channel = asked.channel("out", "results", "r")
    asked.write("out", "results", channel, (1, 2, 3), np.full((4, 5, 6), 255, np.uint8))
    held = archive.places["out", "results"].channels["r"].data
    assert held is not None
    assert held[1:5, 2:7, 3:9].all()
    assert held.sum() == 255 * 4 * 5 * 6
    asked.write("out", "results", channel, (1, 2, 3), np.zeros((4, 5, 6), np.uint8))
    assert not held.any()


def test_only_a_404_makes_a_channel(archive: Archive) -> None:
    asked = session(archive.url, ENVIRONMENT)
    for kind in ("401", "403", "400", "500"):
        archive.fail(kind, match="GET /v1/collection/out/experiment/results/channel/r", times=3 if kind == "500" else 1)
        with pytest.raises(ArchiveError):
            asked.make_channel("out", "results", "r")
    assert archive.counts()["POST collection"] == 0
    assert asked.make_channel("out", "results", "r") is True
    assert asked.make_channel("out", "results", "r") is False
    assert archive.counts()["POST collection"] == 1


@pytest.mark.parametrize("kind", ["lost", "drop", "503", "cut"])
def test_channel_is_made_once_though_answers_are_lost(archive: Archive, kind: str) -> None:
    archive.fail(kind, match="POST /v1/collection")
    session(archive.url, ENVIRONMENT).make_channel("out", "results", "r")
    assert list(archive.places["out", "results"].channels) == ["r"]


def test_threads_share_a_session(archive: Archive) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: read(archive), range(32)))
    assert len(found) == 32


def test_what_was_read_belongs_to_intern(archive: Archive) -> None:
    """Volumes hand out copies; see the tests of the source."""
    assert not read(archive).flags.writeable


def test_session_does_not_show_its_token(archive: Archive) -> None:
    assert repr(Session(archive.url, "writer")) == f"<Session {archive.url}>"


def test_token_that_is_renewed_in_its_file_is_taken(
    archive: Archive, set_up: Callable[..., None], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("expired")
    set_up(BOSS_TOKEN="", BOSS_TOKEN_FILE=file)
    with pytest.raises(TokenError, match=r"wrong or has expired \(Invalid token \*\*\*\.\)"):
        read(archive)
    file.write_text("reader")
    read(archive)
