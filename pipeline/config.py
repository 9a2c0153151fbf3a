"""Every limit and setting, in one table: the only reader of the environment.

A setting `task_memory` is set with the variable ``VOXELFOREST_TASK_MEMORY``. Sizes in bytes take a unit (``900MiB``,
``1.5GB``) or a plain number. Rows about clusters stand in `pipeline.cluster_settings`. The page
docs/reference/settings.md is this table, written by ``python -m pipeline.config > docs/reference/settings.md``.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Literal, get_args

from platformdirs import user_data_path
from pydantic import ByteSize, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from pipeline.cluster_settings import ClusterSettings
from pipeline.errors import PlanError
from pipeline.setting import row as _row

PREFIX = "VOXELFOREST_"
MIB = 1 << 20


class Settings(ClusterSettings):
    """The table; a row's description says what the setting bounds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    task_memory: ByteSize = _row(
        256 * MIB, "bytes", "Memory that one block task may take; the plan cuts blocks to fit.", shown="256MiB", ge=MIB
    )
    chunk_voxels: int = _row(
        64**3, "voxels", "Voxels of one output chunk per channel: 64x64x64, or 512x512 of a plane.", ge=1
    )
    block_voxels: int = _row(
        1 << 22, "voxels", "Largest block that one task computes: small enough for steady progress and even load.", ge=1
    )
    shard_above: int = _row(
        10_000,
        "chunks",
        "Chunks of an image from which on those of a block share a file (OME-Zarr 0.5); more files are a burden.",
        ge=1,
    )
    window_per_thread: int = _row(4, "tasks", "Block tasks submitted ahead for each worker thread.", ge=1)
    block_retries: int = _row(2, "attempts", "How often a block that failed is tried again before the run stops.", ge=0)
    damaged_blocks: int = _row(
        100, "blocks", "Blocks whose input turns out damaged, up to which a run computes the rest and names them.", ge=0
    )
    connect_seconds: float = _row(5.0, "seconds", "How long a scheduler may take to answer.", gt=0)
    cancel_seconds: float = _row(
        10.0, "seconds", "How long an interrupted run waits for the blocks that are being computed.", ge=0
    )
    ilp_elements: int = _row(
        200_000_000, "elements", "Numbers read from one project file in all; files that declare more are refused.", ge=1
    )
    training_memory: ByteSize = _row(
        4096 * MIB, "bytes", "Features of all annotated voxels of one training; more is refused.", shown="4GiB", ge=MIB
    )
    model_bytes: ByteSize = _row(
        64 * MIB, "bytes", "Arrays of one classifier's file, and a pickle that one is made from.", shown="64MiB", ge=1
    )
    image_pixels: int = _row(
        1 << 28,
        "pixels",
        "Largest PNG, JPEG, or compressed strip or tile of a TIFF that is decoded; larger ones are refused unread.",
        ge=1,
    )
    tiff_pages: int = _row(200_000, "pages", "Most pages of a TIFF; one with more is refused.", ge=1)
    tiff_directory: ByteSize = _row(
        64 * MIB, "bytes", "Most that one page of a TIFF may say about itself, such as OME-XML.", shown="64MiB", ge=1
    )
    store_retries: int = _row(
        4, "attempts", "How often a request to a web server or an object store that failed is tried again.", ge=0
    )
    cache_bytes: ByteSize = _row(
        900 * MIB, "bytes", "Computed blocks that a server keeps for the next request.", shown="900MiB", ge=MIB
    )
    response_cache: ByteSize = _row(
        128 * MIB,
        "bytes",
        "Encoded chunks and tiles that each front end keeps, to give them out again without the app.",
        shown="128MiB",
        ge=0,
    )
    coarse_tile_voxels: int = _row(
        1 << 22,
        "voxels",
        "Voxels of full resolution that a tile of a coarse level may cost; levels above are predicted from coarse raw "
        "data, and say that they are approximate.",
        ge=1,
    )
    coarse_raw_voxels: int = _row(
        1 << 27,
        "voxels",
        "Voxels of raw data that a tile of a coarse level may be averaged from; levels above come from the file's own "
        "pyramid, or are not there.",
        ge=1,
    )
    request_bytes: ByteSize = _row(
        256 * MIB, "bytes", "Most that one request to a server may ask for, decoded.", shown="256MiB", ge=1
    )
    flight_bytes: ByteSize = _row(
        1 << 30,
        "bytes",
        "Answers, and blocks for them, that a server may have in the making; requests beyond are told to come again.",
        shown="1GiB",
        ge=MIB,
    )
    flight_tasks: int = _row(
        512, "tasks", "Block tasks that a server may have waiting; requests beyond are told to come again.", ge=1
    )
    viewer_tasks: int = _row(
        8, "tasks", "Block tasks that a request may need to go before bulk requests, as somebody looking does.", ge=1
    )
    bulk_requests: int = _row(
        4, "requests", "Bulk requests that may wait for their turns; more are told to come again.", ge=1
    )
    request_seconds: float = _row(
        300.0, "seconds", "How long a request may wait for its blocks before it is told to come again.", gt=0
    )
    upload_bytes: ByteSize = _row(
        64 * MIB, "bytes", "Largest project file that a server takes as an upload.", shown="64MiB", ge=1
    )
    uploads: int = _row(100, "files", "Uploaded projects that a server keeps; more are refused.", ge=0)
    label_frame_voxels: int = _row(
        512**3,
        "voxels",
        "Largest frame that a server labels when it is asked for; larger ones need a run of `voxelforest segment`.",
        ge=1,
    )
    found_runs: int = _row(
        1000,
        "outputs",
        "Outputs in one folder that a server looks at for finished runs of `voxelforest segment`.",
        ge=0,
    )
    label_cache: ByteSize = _row(
        8192 * MIB,
        "bytes",
        "Labelled frames that servers keep in `data_dir`; those that nobody has asked for the longest go first.",
        shown="8GiB",
        ge=0,
    )
    head_seconds: float = _row(
        10.0, "seconds", "How long a client may take to send the head of a request before a server hangs up.", gt=0
    )
    exchange_seconds: float = _row(
        300.0,
        "seconds",
        "How long a request may take altogether, its body and the reading of the answer included.",
        gt=0,
    )
    old_block_edge: int = _row(
        64, "voxels", "Edge of the blocks that the block routes of ilastik-backend's API count by.", ge=1
    )
    token: SecretStr | None = _row(
        None, "text", "What requests to a server have to show; needed on addresses other than loopback.", shown="none"
    )
    secret_key: SecretStr | None = _row(
        None,
        "text",
        "Signs links to results, and locks away the tokens of jobs over a restart; any long random text. Without it "
        "there are no such links, and a job whose runner died waits for its token.",
        shown="none",
        min_length=16,
    )
    public_url: str | None = _row(
        None,
        "URL",
        "Where people reach the server, for links in mails; by default the address that it listens on.",
        shown="none",
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
    )
    link_days: float = _row(30.0, "days", "How long a signed link to the results of a job is good.", gt=0, le=3650)
    event_streams: int = _row(
        16,
        "requests",
        "Pages that may watch jobs live at a time; each takes a thread, further ones ask in turns.",
        ge=0,
    )
    smtp_host: str | None = _row(
        None, "name", "Mail server that messages about jobs are handed to; without it none are sent.", shown="none"
    )
    smtp_port: int = _row(587, "port", "Its port: 587 for `starttls`, as a rule 465 for `implicit`.", ge=1, le=65535)
    smtp_user: str | None = _row(None, "text", "Name to log in to the mail server with.", shown="none")
    smtp_password: SecretStr | None = _row(None, "text", "Password to log in to the mail server with.", shown="none")
    smtp_from: str | None = _row(
        None, "address", "Sender of messages; by default the name to log in with.", shown="none"
    )
    smtp_tls: Literal["starttls", "implicit", "none"] = _row(
        "starttls",
        "word",
        "`starttls`, `implicit` or `none`; certificates are verified, and no password goes out with `none` but to "
        "this machine.",
    )
    smtp_seconds: float = _row(
        30.0, "seconds", "How long handing over one message may take, whatever the mail server does.", gt=0, le=600
    )
    mail_days: float = _row(3.0, "days", "How long a message that cannot be sent is tried again.", ge=0, le=30)
    chunk_cache: ByteSize = _row(
        32 * MIB,
        "bytes",
        "Decoded chunks, strips and pictures of volumes that one process keeps for the boxes beside. One that is "
        "larger is decoded by each box that touches it.",
        shown="32MiB",
        ge=0,
    )
    handle_cache: int = _row(32, "files", "Volume files that one process keeps open.", ge=1)
    debug: bool = _row(False, "0 or 1", "Whether the command shows the traceback of an error that should not happen.")
    boss_url: str = _row(
        "https://api.boss.neurodata.io",
        "URL",
        "The archive that `boss://` volumes lie in, and results are pushed to: `https://name` or `http://name:port`.",
    )
    boss_token: SecretStr | None = _row(
        None, "text", "What the archive knows you by: letters and digits.", shown="none"
    )
    boss_token_file: Path | None = _row(
        None, "file", "Where the token stands, if `VOXELFOREST_BOSS_TOKEN` is not set.", shown="none"
    )
    boss_push: str | None = _row(
        None, "names", "Where results of jobs are pushed to: `collection/experiment`.", shown="none"
    )
    boss_connect_seconds: float = _row(
        10.0, "seconds", "How long the archive may take to accept a connection.", gt=0, le=3600
    )
    boss_silence_seconds: float = _row(
        60.0, "seconds", "How long the archive may be silent before and while it answers.", gt=0, le=3600
    )
    boss_answer_seconds: float = _row(
        300.0, "seconds", "How long one answer of the archive may take altogether.", gt=0, le=86400
    )
    boss_retries: int = _row(
        6,
        "attempts",
        "How often a request to the archive that failed is tried again, after 0.1 s, 0.2 s, 0.4 s and so on.",
        ge=0,
        le=20,
    )
    boss_block_bytes: ByteSize = _row(
        8 * MIB,
        "bytes",
        "Largest block that is asked for, or pushed, with one request to the archive, decoded.",
        shown="8MiB",
        ge=4096,
        le=64 * MIB,
    )
    boss_cache_bytes: ByteSize = _row(
        20480 * MIB,
        "bytes",
        "Blocks of the archive's volumes that are kept on disk below `data_dir`.",
        shown="20GiB",
        ge=0,
    )
    boss_push_requests: int = _row(4, "requests", "Blocks that are pushed to the archive at a time.", ge=1, le=64)
    job_concurrency: int = _row(1, "jobs", "Jobs that are computed at a time; the others wait.", ge=1, le=64)
    job_queue: int = _row(1000, "jobs", "Jobs that may wait; more are refused.", ge=1)
    job_bytes: ByteSize = _row(
        256 << 30,
        "bytes",
        "Most that one job may read from the archive, all channels together, decoded; larger ones are refused.",
        shown="256GiB",
        ge=1,
    )
    job_attempts: int = _row(
        5,
        "attempts",
        "How often a job is tried when the archive or the cluster fails, and how often its process may die without "
        "finishing a block, before the job counts as failed.",
        ge=1,
        le=100,
    )
    job_pause_seconds: float = _row(
        15.0, "seconds", "Pause before the second attempt; twice as long before each further one.", ge=0, le=3600
    )
    job_lease_seconds: float = _row(
        20.0, "seconds", "How long a runner may be silent before another one takes over its job.", ge=0.5, le=3600
    )
    job_days: float = _row(90.0, "days", "How long a job that has ended, and its results, are kept; 0 for ever.", ge=0)
    job_parameters: dict[str, dict[str, str]] = _row(
        {},
        "JSON",
        "Files that pipelines of jobs need, which no request may name, by pipeline and parameter: "
        '`{"pixel-classification": {"project": "/data/cells.ilp"}}`.',
    )
    data_dir: Path = _row(
        lambda: user_data_path("voxelforest"),
        "folder",
        "Where what outlives a run is kept: jobs, results, caches.",
        shown="the user's data folder, `~/.local/share/voxelforest` on Linux",
    )


@functools.cache
def settings() -> Settings:
    """The settings of this process, read from the environment once.

    Raises
    ------
    PlanError
        With the code ``setting``, if a variable holds something that is not allowed; the message names both, but no
        secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        annotation = Settings.model_fields[str(first["loc"][0])].annotation if first["loc"] else None
        given = "" if SecretStr in get_args(annotation) else f"={first['input']!s}"
        raise PlanError(f"{name}{given} is not usable: {first['msg']}", code="setting") from None


def child_environment(**values: str) -> dict[str, str]:
    """The environment of a process that is started here: this one's, with settings where it does not have them.

    Examples
    --------
    >>> child_environment(public_url="http://127.0.0.1:8080")["VOXELFOREST_PUBLIC_URL"]
    'http://127.0.0.1:8080'
    """
    return {**{PREFIX + name.upper(): value for name, value in values.items()}, **os.environ}


def settings_page() -> str:
    """The reference page in Markdown: one line for each setting, in the order of the table."""
    lines = [
        "# Settings",
        "",
        "Written by `python -m pipeline.config`; edit `pipeline/config.py` instead.",
        "Sizes in bytes take a unit: `900MiB`, `1.5GB`.",
        "",
        "| variable | unit | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    fields = sorted(Settings.model_fields.items(), key=lambda row: row[0] in ClusterSettings.model_fields)
    for name, field in fields:
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        default = extra["shown"] or field.default
        lines.append(f"| `{PREFIX}{name.upper()}` | {extra['unit']} | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(settings_page())
