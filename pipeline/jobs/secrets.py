"""The tokens that people give with a form: outside the jobs' record, encrypted, and gone with the outcome.

A token lies in a file that only this user reads, encrypted under a key that is made from the setting ``secret_key``.
Without that setting, the key is a random one that never leaves the memory of the server and of the processes it
starts: after their end, nobody can read the files, and jobs that still need one wait for a new token.
"""

from __future__ import annotations

import base64
import functools
import os
import re
import secrets
import time
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from pipeline.config import settings
from pipeline.durability import make_folder, sync_folder, write_errors

PURPOSE = b"voxelforest: tokens of jobs"
NAME = re.compile(r"[0-9a-f]{32}", re.ASCII)
GRACE_SECONDS = 600.0  # a file that no job names may be one of a request that is being written down
KEY_BYTES = 32


class _Session:
    """The key of a server without the setting; processes forked from this one have it too."""

    key: bytes | None = None


def session_key() -> bytes:
    """The key that serves where there is no ``secret_key``: made on first use, the same in processes forked later."""
    if _Session.key is None:
        _Session.key = os.urandom(KEY_BYTES)
    return _Session.key


def hand_over() -> bytes:
    """The line that tells a runner the session's key, to be written on its standard input."""
    return base64.b16encode(session_key()) + b"\n"


def take_over(line: bytes) -> None:
    """Use the session's key of the process that started this one.

    Raises
    ------
    ValueError
        If the line holds none.
    """
    key = base64.b16decode(line.strip())
    if len(key) != KEY_BYTES:
        raise ValueError("this is no key of a session")
    _Session.key = key


class TokenVault:
    """Tokens of jobs.

    Parameters
    ----------
    folder : Path
        Where the files lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, token: SecretStr) -> str:
        """Keep a token until it is erased; returns the name it is kept under, which says nothing of it.

        Raises
        ------
        WriteError
            If it cannot be written.
        """
        name = secrets.token_hex(16)
        sealed = _cipher().encrypt(token.get_secret_value().encode())
        with write_errors(self._folder):
            make_folder(self._folder.parent)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "wb", buffering=0) as file:  # a name of its own: nobody reads it before a job has it
                file.write(sealed)
                os.fsync(handle)
            sync_folder(self._folder)
        return name

    def fetch(self, name: str) -> SecretStr | None:
        """A token; None if it was erased, or encrypted under a key that nobody has any more."""
        try:
            sealed = self._path(name).read_bytes()
            return SecretStr(_cipher().decrypt(sealed).decode())
        except (FileNotFoundError, InvalidToken):
            return None

    def erase(self, name: str | None) -> None:
        """Remove a token; no error if there is none of this name."""
        if name is not None:
            self._path(name).unlink(missing_ok=True)

    def sweep(self, needed: frozenset[str]) -> int:
        """Remove the tokens that no job names any more, whose erasure a kill prevented; returns how many."""
        if not self._folder.is_dir():
            return 0
        old = time.time() - GRACE_SECONDS
        left = [path for path in self._folder.iterdir() if path.name not in needed and path.stat().st_mtime < old]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def _path(self, name: str) -> Path:
        assert NAME.fullmatch(name)
        return self._folder / name


def _cipher() -> Fernet:
    configured = settings().secret_key
    return _make_cipher(configured.get_secret_value().encode() if configured is not None else session_key())


@functools.lru_cache(maxsize=4)
def _make_cipher(secret: bytes) -> Fernet:
    # Derived for this purpose alone: links are signed with the same setting.
    derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=PURPOSE).derive(secret)
    return Fernet(base64.urlsafe_b64encode(derived))
