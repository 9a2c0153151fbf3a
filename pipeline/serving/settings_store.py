"""Settings that were changed over HTTP, kept in SQLite: every process of a server sees them, and so does the next."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipeline.errors import WriteError
from pipeline.serving.label_image import LabelSettings

FILE_NAME = "served_settings.sqlite3"
WAIT_SECONDS = 10.0  # for another process that writes
TABLE = "CREATE TABLE IF NOT EXISTS label_settings (project TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID"


class SettingsStore:
    """What the thresholding service was told, by project.

    Parameters
    ----------
    folder : Path
        Made when something is written first.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE_NAME

    def read(self, project: str) -> LabelSettings:
        """The settings for a project, given by its digest; the defaults if none were set."""
        if not self._file.exists():
            return LabelSettings()
        with self._open() as database:
            return _read(database, project)

    def change(self, project: str, **changes: Any) -> LabelSettings:
        """Change some of a project's settings, and return all.

        Raises
        ------
        WriteError
            If they cannot be written.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                database.execute("BEGIN IMMEDIATE")
                changed = replace(_read(database, project), **changes)
                row = project, json.dumps(asdict(changed))
                database.execute("INSERT OR REPLACE INTO label_settings VALUES (?, ?)", row)
                database.execute("COMMIT")
                return changed
        except (OSError, sqlite3.Error) as error:
            raise WriteError(f"{self._file}: settings cannot be kept: {error}") from error

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self._file, WAIT_SECONDS, isolation_level=None)) as database:
            database.execute(TABLE)
            yield database


def _read(database: sqlite3.Connection, project: str) -> LabelSettings:
    row = database.execute("SELECT document FROM label_settings WHERE project = ?", (project,)).fetchone()
    if row is None:
        return LabelSettings()
    document = json.loads(row[0])
    sigmas = document["sigmas"]
    return LabelSettings(document["threshold"], document["channel"], None if sigmas is None else tuple(sigmas))
