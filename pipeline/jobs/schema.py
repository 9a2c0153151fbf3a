"""The tables of the jobs. What must never happen to a job is refused by the database itself, whoever asks for it."""

from __future__ import annotations

import sqlite3

from pipeline.errors import StoreError
from pipeline.jobs import links, outbox
from pipeline.jobs.job import ACTIVE, ENDED, STATES, TRANSITIONS

VERSION = 2
EARLIER = (0, 1)  # of a file that is new, or lacks nothing but tables that came since


def _words(words: tuple[str, ...]) -> str:
    return "(" + ", ".join(f"'{word}'" for word in words) + ")"


JOBS = f"""
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    key TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    channel TEXT NOT NULL UNIQUE,
    request TEXT NOT NULL,
    voxel_bytes INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN {_words(STATES)}),
    created REAL NOT NULL,
    updated REAL NOT NULL,
    started REAL,
    ended REAL,
    due REAL NOT NULL,
    runs INTEGER NOT NULL DEFAULT 1,
    event INTEGER NOT NULL DEFAULT 0,
    own_token INTEGER NOT NULL,
    secret TEXT,
    fence INTEGER NOT NULL DEFAULT 0,
    runner TEXT,
    lease REAL,
    faults INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    cancel_asked INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    results TEXT NOT NULL DEFAULT '{{}}',
    CHECK ((lease IS NOT NULL) = (state IN {_words(ACTIVE)})),
    CHECK ((runner IS NOT NULL) = (state IN {_words(ACTIVE)})),
    CHECK ((ended IS NOT NULL) = (state IN {_words(ENDED)})),
    CHECK (secret IS NULL OR (own_token AND state NOT IN {_words(ENDED)})),
    CHECK (state NOT IN ('failed', 'needs token') OR reason IS NOT NULL)
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, due);

CREATE TABLE IF NOT EXISTS people (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY (job, address)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    time REAL NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('state', 'note', 'stage', 'computed')),
    stage TEXT,
    document TEXT NOT NULL,
    CHECK ((stage IS NOT NULL) = (kind = 'stage'))
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_job ON events (job, number);

CREATE TABLE IF NOT EXISTS channels (name TEXT PRIMARY KEY, digest TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS transitions (
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    PRIMARY KEY (before, after)
) STRICT, WITHOUT ROWID;
"""

# A trigger for each rule, since a CHECK cannot see what a row was before.
TRIGGERS = """
CREATE TRIGGER IF NOT EXISTS jobs_begin_queued BEFORE INSERT ON jobs WHEN NEW.state <> 'queued'
BEGIN SELECT RAISE(ABORT, 'a job begins queued'); END;

CREATE TRIGGER IF NOT EXISTS transitions_are_legal BEFORE UPDATE OF state ON jobs
WHEN NEW.state <> OLD.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE before = OLD.state AND after = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a job makes no such transition'); END;

CREATE TRIGGER IF NOT EXISTS fences_rise BEFORE UPDATE ON jobs WHEN NEW.fence < OLD.fence
BEGIN SELECT RAISE(ABORT, 'the fence of a job never falls'); END;

CREATE TRIGGER IF NOT EXISTS runners_raise_fences BEFORE UPDATE ON jobs
WHEN NEW.runner IS NOT OLD.runner AND NEW.runner IS NOT NULL AND NEW.fence = OLD.fence
BEGIN SELECT RAISE(ABORT, 'another runner raises the fence'); END;

CREATE TRIGGER IF NOT EXISTS identities_stay BEFORE UPDATE OF id, key, digest, channel, request ON jobs
BEGIN SELECT RAISE(ABORT, 'what a job is does not change'); END;

CREATE TRIGGER IF NOT EXISTS creations_are_told AFTER INSERT ON jobs BEGIN
    INSERT INTO events (job, time, kind, document)
    VALUES (NEW.id, NEW.updated, 'state', json_object('state', NEW.state, 'reason', NEW.reason));
    UPDATE jobs SET event = last_insert_rowid() WHERE id = NEW.id;
END;

CREATE TRIGGER IF NOT EXISTS transitions_are_told AFTER UPDATE OF state ON jobs WHEN NEW.state <> OLD.state BEGIN
    INSERT INTO events (job, time, kind, document)
    VALUES (NEW.id, NEW.updated, 'state', json_object('state', NEW.state, 'reason', NEW.reason));
    UPDATE jobs SET event = last_insert_rowid() WHERE id = NEW.id;
END;
"""


def make_tables(connection: sqlite3.Connection) -> None:
    """Make what is missing, in one transaction.

    Raises
    ------
    StoreError
        If the file was made by a version that keeps jobs in another way.
    """
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found == VERSION:
        return
    if found not in EARLIER:
        raise StoreError(f"the jobs' file is of version {found}, this is for {VERSION}: use the software that made it")
    parts = (JOBS, TRIGGERS, outbox.SCHEMA, links.SCHEMA)
    connection.executescript("BEGIN IMMEDIATE;\n" + "\n".join(parts))
    try:
        connection.executemany("INSERT OR IGNORE INTO transitions VALUES (?, ?)", TRANSITIONS)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
