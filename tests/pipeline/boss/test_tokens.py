"""Where tokens come from, who gets them, and where they never are."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import stat
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from pipeline.boss import BossArchive
from pipeline.boss.tokens import ENVIRONMENT, VAULT, Vault, check_token, configured_token
from pipeline.config import settings
from pipeline.errors import TokenError
from pipeline.formats.handles import HANDLES
from tests.archive_contents import Archive

SECRET = "s3cr3tTokenThatNobodySees"
BAD = ["", "a b", "a%b", "good\n[Volume Service]\nhost = elsewhere", "good\n", "ä", "٣", "a" * 4097, "a-b"]


@pytest.mark.parametrize("text", BAD)
def test_only_letters_and_digits_are_a_token(text: str) -> None:
    with pytest.raises(TokenError, match="nothing but letters and digits") as caught:
        check_token(text)
    assert caught.value.code == "bad_token"
    assert not text.strip() or text not in str(caught.value)


def test_token_of_the_environment(set_up: Callable[..., None]) -> None:
    set_up(BOSS_TOKEN=SECRET)
    assert configured_token() == SECRET
    assert SECRET not in repr(settings())


def test_token_of_a_file_is_read_anew(set_up: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "token"
    set_up(BOSS_TOKEN_FILE=file)
    file.write_text("first\n")
    assert configured_token() == "first"
    file.write_text("  second ")
    assert configured_token() == "second"
    file.write_text("two words")
    with pytest.raises(TokenError, match="letters and digits") as caught:
        configured_token()
    assert "words" not in str(caught.value)


def test_without_a_token_it_is_said_what_to_set(set_up: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="set VOXELFOREST_BOSS_TOKEN, or VOXELFOREST_BOSS_TOKEN_FILE") as caught:
        configured_token()
    assert caught.value.code == "no_token"
    set_up(BOSS_TOKEN_FILE=tmp_path / "none")
    with pytest.raises(TokenError, match="none cannot be read: No such file"):
        configured_token()


def _token_in_another_process(name: str) -> str:
    return VAULT.token(name)


@pytest.fixture
def spawned() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def test_process_of_this_user_is_given_a_held_token(set_up: Callable[..., None], spawned: ProcessPoolExecutor) -> None:
    name = VAULT.hold(SECRET)
    with spawned as pool:
        assert pool.submit(_token_in_another_process, name).result() == SECRET
        assert VAULT.token(name) == SECRET
        VAULT.drop(name)
        with pytest.raises(TokenError, match="is gone, or is on another machine") as caught:
            pool.submit(_token_in_another_process, name).result()
    assert caught.value.code == "no_token"


def test_folder_of_a_held_token_is_of_its_user_alone_and_goes() -> None:
    vault = Vault()
    name = vault.hold(SECRET)
    folder = Path(name).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.stat().st_uid == os.getuid()
    assert SECRET not in name
    vault.close()
    assert not folder.exists()
    vault.drop(name)


def test_folder_too_long_for_a_socket_costs_the_workers_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ("x" * 120)).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * 120)))
    vault = Vault()
    name = vault.hold(SECRET)
    assert vault.token(name) == SECRET
    assert "cannot be offered" in caplog.text
    assert SECRET not in caplog.text
    vault.close()
    assert not Path(name).parent.exists()


def test_closed_archive_keeps_no_token(archive: Archive) -> None:
    opened = BossArchive(token="reader")
    opened.experiment("col", "exp")
    before = len(HANDLES)
    opened.close()
    assert len(HANDLES) == before - 1
    archive.tokens["writer"] = ""
    with pytest.raises(TokenError, match="does not allow"):  # that of the environment is asked instead
        opened.experiment("col", "exp")


def test_worker_of_another_machine_takes_its_own_token(set_up: Callable[..., None]) -> None:
    set_up(BOSS_TOKEN="ofTheWorker")
    assert VAULT.token("/nowhere/at/all/token") == "ofTheWorker"
    assert VAULT.token(ENVIRONMENT) == "ofTheWorker"


def test_token_is_in_no_volume_and_no_text(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    archive.tokens[SECRET] = "rw"
    with BossArchive(token=SECRET) as opened:
        volume = opened.open("col", "exp")["PSD95"]
        volume[0, :3, :3]
        shown = [repr(opened), repr(volume), str(volume.source), volume.digest, caplog.text, str(vars(opened))]
        assert SECRET.encode() not in pickle.dumps(volume)
        assert not any(SECRET in text for text in shown)
        kept = [path for path in settings().data_dir.rglob("*") if path.is_file()]
        assert kept
        assert not any(SECRET.encode() in path.read_bytes() for path in kept)


def test_digest_does_not_depend_on_the_token(archive: Archive) -> None:
    with BossArchive(token="reader") as opened:
        assert opened.open("col", "exp")["DAPI"] == BossArchive().open("col", "exp")["DAPI"]


@pytest.mark.parametrize("status", ["401", "403", "404", "400", "500"])
def test_server_that_repeats_the_token_is_not_quoted(archive: Archive, status: str) -> None:
    archive.tokens[SECRET] = "rw"
    archive.fail(status, match="/collection/", times=9)
    with BossArchive(token=SECRET) as opened, pytest.raises(Exception, match="col/exp") as caught:
        opened.experiment("col", "exp")
    errors: list[BaseException | None] = [caught.value]
    while errors[-1] is not None:  # a chain that Dask or a log would keep
        assert SECRET not in str(errors[-1])
        assert SECRET.encode() not in pickle.dumps(errors[-1])
        errors.append(errors[-1].__cause__ or errors[-1].__context__)
