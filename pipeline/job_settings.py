"""The rows of `pipeline.config` about jobs: the archive they read, how they are run, links to results and mails."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ByteSize, SecretStr
from pydantic_settings import BaseSettings

from pipeline.setting import MIB, row


class JobSettings(BaseSettings):
    """What jobs and the archive may take, and who is told of the outcome."""

    secret_key: SecretStr | None = row(
        None,
        "text",
        "Signs links to results, and locks away the tokens of jobs over a restart; any long random text. Without it "
        "there are no such links, and a job whose runner died waits for its token.",
        shown="none",
        min_length=16,
    )
    public_url: str | None = row(
        None,
        "URL",
        "Where people reach the server, for links in mails; by default the address that it listens on.",
        shown="none",
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
    )
    link_days: float = row(30.0, "days", "How long a signed link to the results of a job is good.", gt=0, le=3650)
    smtp_host: str | None = row(
        None, "name", "Mail server that messages about jobs are handed to; without it none are sent.", shown="none"
    )
    smtp_port: int = row(587, "port", "Its port: 587 for `starttls`, as a rule 465 for `implicit`.", ge=1, le=65535)
    smtp_user: str | None = row(None, "text", "Name to log in to the mail server with.", shown="none")
    smtp_password: SecretStr | None = row(None, "text", "Password to log in to the mail server with.", shown="none")
    smtp_from: str | None = row(
        None, "address", "Sender of messages; by default the name to log in with.", shown="none"
    )
    smtp_tls: Literal["starttls", "implicit", "none"] = row(
        "starttls",
        "word",
        "`starttls`, `implicit` or `none`; certificates are verified, and no password goes out with `none` but to "
        "this machine.",
    )
    smtp_seconds: float = row(
        30.0, "seconds", "How long handing over one message may take, whatever the mail server does.", gt=0, le=600
    )
    mail_days: float = row(3.0, "days", "How long a message that cannot be sent is tried again.", ge=0, le=30)
    job_concurrency: int = row(1, "jobs", "Jobs that are computed at a time; the others wait.", ge=1, le=64)
    job_queue: int = row(1000, "jobs", "Jobs that may wait; more are refused.", ge=1)
    job_bytes: ByteSize = row(
        256 << 30,
        "bytes",
        "Most that one job may read from the archive, all channels together, decoded; larger ones are refused.",
        shown="256GiB",
        ge=1,
    )
    job_attempts: int = row(
        5,
        "attempts",
        "How often a job is tried when the archive or the cluster fails, and how often its process may die without "
        "finishing a block, before the job counts as failed.",
        ge=1,
        le=100,
    )
    job_pause_seconds: float = row(
        15.0, "seconds", "Pause before the second attempt; twice as long before each further one.", ge=0, le=3600
    )
    job_lease_seconds: float = row(
        20.0, "seconds", "How long a runner may be silent before another one takes over its job.", ge=0.5, le=3600
    )
    job_days: float = row(90.0, "days", "How long a job that has ended, and its results, are kept; 0 for ever.", ge=0)
    job_results: str | None = row(
        None,
        "URL",
        "Bucket that results of jobs are kept in, each below a prefix of its own: `s3://bucket/prefix`; without it "
        "they stay in a folder below `data_dir`, where they are made in any case.",
        shown="none",
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_=-][A-Za-z0-9_.=-]*)*/?$",
    )
    job_parameters: dict[str, dict[str, str]] = row(
        {},
        "JSON",
        "Files that pipelines of jobs need, which no request may name, by pipeline and parameter: "
        '`{"pixel-classification": {"project": "/data/cells.ilp"}}`.',
    )
    boss_url: str = row(
        "https://api.boss.neurodata.io",
        "URL",
        "The archive that `boss://` volumes lie in, and results are pushed to: `https://name` or `http://name:port`.",
    )
    boss_token: SecretStr | None = row(None, "text", "What the archive knows you by: letters and digits.", shown="none")
    boss_token_file: Path | None = row(
        None, "file", "Where the token stands, if `VOXELFOREST_BOSS_TOKEN` is not set.", shown="none"
    )
    boss_push: str | None = row(
        None, "names", "Where results of jobs are pushed to: `collection/experiment`.", shown="none"
    )
    boss_connect_seconds: float = row(
        10.0, "seconds", "How long the archive may take to accept a connection.", gt=0, le=3600
    )
    boss_silence_seconds: float = row(
        60.0, "seconds", "How long the archive may be silent before and while it answers.", gt=0, le=3600
    )
    boss_answer_seconds: float = row(
        300.0, "seconds", "How long one answer of the archive may take altogether.", gt=0, le=86400
    )
    boss_retries: int = row(
        6,
        "attempts",
        "How often a request to the archive that failed is tried again, after 0.1 s, 0.2 s, 0.4 s and so on.",
        ge=0,
        le=20,
    )
    boss_block_bytes: ByteSize = row(
        8 * MIB,
        "bytes",
        "Largest block that is asked for, or pushed, with one request to the archive, decoded.",
        shown="8MiB",
        ge=4096,
        le=64 * MIB,
    )
    boss_cache_bytes: ByteSize = row(
        20480 * MIB,
        "bytes",
        "Blocks of the archive's volumes that are kept on disk below `data_dir`.",
        shown="20GiB",
        ge=0,
    )
    boss_push_requests: int = row(4, "requests", "Blocks that are pushed to the archive at a time.", ge=1, le=64)
