"""Tokens of jobs: encrypted, for this user alone, gone when they are erased or their key is."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.jobs import secrets
from pipeline.jobs.secrets import GRACE_SECONDS, TokenVault

TOKEN = SecretStr("f0rmT0ken")


@pytest.fixture
def vault(set_up: Callable[..., None], tmp_path: Path) -> TokenVault:
    set_up(SECRET_KEY="a key of the tests, long enough")
    return TokenVault(tmp_path / "secrets")


def test_token_comes_back_until_it_is_erased(vault: TokenVault) -> None:
    name = vault.keep(TOKEN)
    assert vault.fetch(name) == TOKEN
    vault.erase(name)
    vault.erase(name)
    vault.erase(None)
    assert vault.fetch(name) is None


def test_file_is_for_this_user_alone_and_holds_nothing_readable(vault: TokenVault, tmp_path: Path) -> None:
    path = tmp_path / "secrets" / vault.keep(TOKEN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert TOKEN.get_secret_value().encode() not in path.read_bytes()


def test_same_token_is_never_kept_alike(vault: TokenVault, tmp_path: Path) -> None:
    one, two = ((tmp_path / "secrets" / vault.keep(TOKEN)).read_bytes() for _ in range(2))
    assert one != two


def test_other_key_reads_nothing(vault: TokenVault, set_up: Callable[..., None]) -> None:
    name = vault.keep(TOKEN)
    set_up(SECRET_KEY="another key of the tests")
    assert vault.fetch(name) is None


def test_file_that_was_changed_is_no_token(vault: TokenVault, tmp_path: Path) -> None:
    name = vault.keep(TOKEN)
    (tmp_path / "secrets" / name).write_bytes(b"something else")
    assert vault.fetch(name) is None


def test_without_a_key_the_session_has_one_that_processes_hand_over(
    vault: TokenVault, set_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOXELFOREST_SECRET_KEY")
    set_up()
    monkeypatch.setattr(secrets._Session, "key", None)
    name, line = vault.keep(TOKEN), secrets.hand_over()
    monkeypatch.setattr(secrets._Session, "key", None)
    assert vault.fetch(name) is None, "a restart makes another key"
    secrets.take_over(line)
    assert vault.fetch(name) == TOKEN


@pytest.mark.parametrize("line", [b"", b"\n", b"00\n", b"zz\n"])
def test_line_without_a_key_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        secrets.take_over(line)


def test_sweep_removes_what_no_job_names_but_not_what_is_new(vault: TokenVault, tmp_path: Path) -> None:
    kept, old, new = (vault.keep(TOKEN) for _ in range(3))
    past = time.time() - GRACE_SECONDS - 1
    for name in (kept, old):
        os.utime(tmp_path / "secrets" / name, (past, past))
    assert vault.sweep(frozenset({kept})) == 1
    assert {path.name for path in (tmp_path / "secrets").iterdir()} == {kept, new}
    assert TokenVault(tmp_path / "nowhere").sweep(frozenset()) == 0
