"""The archive's token: where it comes from, and how processes that compute get it.

A token is never part of a volume, a task, a digest, a log or an error. A volume holds the *name* of its token:

- the empty name stands for the token of this process's environment, ``VOXELFOREST_BOSS_TOKEN`` or the file that
  ``VOXELFOREST_BOSS_TOKEN_FILE`` names. Workers started here inherit it; on other machines it is set there.
- a token given in Python or in a form is kept in memory by the process that got it, and its name is the path of a
  Unix socket in a folder of that user alone. Worker processes of the same user on the same machine ask there, also
  those that Dask starts anew after a crash. A worker on another machine finds no socket and takes the token of its own
  environment.

A token sent along, by Dask or by pickle, would lie in the memory and the files of every scheduler and worker.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import shutil
import socket
import struct
import tempfile
import threading
from pathlib import Path

from pipeline.config import settings
from pipeline.errors import TokenError

TOKEN = re.compile(r"[A-Za-z0-9]+", re.ASCII)  # intern pastes it into INI text, where a line break names another host
LONGEST_TOKEN = 4096
ASK_SECONDS = 5.0
ENVIRONMENT = ""  # name of the token of a process's own environment
_log = logging.getLogger(__name__)
HOW = "set VOXELFOREST_BOSS_TOKEN, or VOXELFOREST_BOSS_TOKEN_FILE to a file that holds it"


def check_token(text: str) -> str:
    """`text`, if it can be a token.

    Raises
    ------
    TokenError
        With the code ``bad_token``; the text is not part of the message.
    """
    if TOKEN.fullmatch(text) and len(text) <= LONGEST_TOKEN:
        return text
    raise TokenError(
        "That cannot be a token of the archive: a token is nothing but letters and digits", code="bad_token"
    )


def configured_token() -> str:
    """The token of this process's environment; a file is read anew each time.

    Raises
    ------
    TokenError
        With the code ``no_token``, saying what to set; ``bad_token``, if it cannot be one.
    """
    given, file = settings().boss_token, settings().boss_token_file
    if given is not None and given.get_secret_value():
        return check_token(given.get_secret_value())
    if file is None:
        raise TokenError(f"There is no token for the archive: {HOW}", code="no_token")
    return read_token(file)


def read_token(path: Path) -> str:
    """The token that a file holds, blanks and line ends around it aside.

    Raises
    ------
    TokenError
        If the file cannot be read, or holds no token; what it holds is not part of the message.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_TOKEN + 2).decode("ascii", "replace").strip()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TokenError(f"The token's file {path} cannot be read: {reason}", code="no_token") from None
    return check_token(text)


class Vault:
    """Tokens that were given to this process, by name, and a socket for each that workers ask at."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset_lock)
        atexit.register(self.close)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[str, str] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._owner = os.getpid()

    def _reset_lock(self) -> None:
        self._lock = threading.Lock()  # a thread of the parent may have held it; its tokens are as good here

    def hold(self, token: str) -> str:
        """Keep a token until `drop`; its name.

        Raises
        ------
        TokenError
            If it cannot be one.
        """
        check_token(token)
        folder = tempfile.mkdtemp(prefix="voxelforest-")  # of mode 0700
        name = os.path.join(folder, "token")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(name)
            listener.listen()
        except OSError as error:  # a folder whose path is too long for a socket: other processes take their own token
            _log.warning("the archive's token cannot be offered to worker processes at %s: %s", name, error)
        else:
            threading.Thread(target=_answer, args=(listener, token), name="token", daemon=True).start()
        with self._lock:
            self._tokens[name], self._sockets[name] = token, listener
        return name

    def drop(self, name: str) -> None:
        """Forget a token; no error if there is none of this name."""
        with self._lock:
            self._tokens.pop(name, None)
            listener = self._sockets.pop(name, None)
        if listener is not None and os.getpid() == self._owner:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
            listener.close()
            shutil.rmtree(Path(name).parent, ignore_errors=True)

    def token(self, name: str) -> str:
        """The token of a name, in the process that holds it or another one of the same user.

        Raises
        ------
        TokenError
            If there is none.
        """
        if name == ENVIRONMENT:
            return configured_token()
        with self._lock:
            held = self._tokens.get(name)
        return held or _ask(name) or self._of_environment()

    def close(self) -> None:
        """Forget all tokens."""
        for name in list(self._tokens):
            self.drop(name)

    def _of_environment(self) -> str:
        try:
            return configured_token()
        except TokenError:
            pass
        raise TokenError(
            "The token that this volume was opened with is gone, or is on another machine; on workers of other "
            f"machines {HOW}",
            code="no_token",
        )


def _answer(listener: socket.socket, token: str) -> None:
    """Give the token to every process of this user that asks, until the socket is closed."""
    while True:
        try:
            asking, _ = listener.accept()
        except OSError:
            return
        with contextlib.suppress(OSError), asking:
            asking.settimeout(ASK_SECONDS)
            if _user_of(asking) == os.getuid():
                asking.sendall(token.encode())


def _user_of(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket (``struct ucred``: process, user, group)."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", found)[1])


def _ask(name: str) -> str:
    """The token that another process holds; empty if there is no such process here, or it is another user's."""
    parts = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ASK_SECONDS)
            connection.connect(name)
            if _user_of(connection) != os.getuid():
                return ""
            while part := connection.recv(LONGEST_TOKEN):
                parts.append(part)
    except OSError:
        return ""
    text = b"".join(parts).decode("ascii", "replace")
    return text if TOKEN.fullmatch(text) else ""


VAULT = Vault()
