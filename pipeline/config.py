"""Every limit and setting, in one table: the only reader of the environment.

A setting `task_memory` is set with the variable ``VOXELFOREST_TASK_MEMORY``. Sizes in bytes take a unit (``900MiB``,
``1.5GB``) or a plain number. Rows about servers, jobs and clusters stand in the modules of these names beside this one.
The page docs/reference/settings.md is this table: ``python -m pipeline.config > docs/reference/settings.md``.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import get_args

from platformdirs import user_data_path
from pydantic import ByteSize, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict, SettingsError

from pipeline.cluster_settings import ClusterSettings
from pipeline.errors import PlanError
from pipeline.job_settings import JobSettings
from pipeline.server_settings import ServerSettings
from pipeline.setting import MIB, row
from pipeline.suggestion import did_you_mean

PREFIX = "VOXELFOREST_"
PARTS = (ServerSettings, JobSettings, ClusterSettings)


class Settings(ServerSettings, JobSettings, ClusterSettings):
    """The table; a row's description says what the setting bounds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    task_memory: ByteSize = row(
        256 * MIB, "bytes", "Memory that one block task may take; the plan cuts blocks to fit.", shown="256MiB", ge=MIB
    )
    chunk_voxels: int = row(
        64**3, "voxels", "Voxels of one output chunk per channel: 64x64x64, or 512x512 of a plane.", ge=1
    )
    block_voxels: int = row(
        1 << 22, "voxels", "Largest block that one task computes: small enough for steady progress and even load.", ge=1
    )
    shard_above: int = row(
        10_000,
        "chunks",
        "Chunks of an image from which on those of a block share a file (OME-Zarr 0.5); more files are a burden.",
        ge=1,
    )
    window_per_thread: int = row(4, "tasks", "Block tasks submitted ahead for each worker thread.", ge=1)
    block_retries: int = row(2, "attempts", "How often a block that failed is tried again before the run stops.", ge=0)
    block_deaths: int = row(
        5,
        "times",
        "How often a block is begun anew that Dask gave up, since four workers in a row died over it: what kills "
        "workers is no fault of the block, unless it goes on for ever.",
        ge=0,
    )
    damaged_blocks: int = row(
        100, "blocks", "Blocks whose input turns out damaged, up to which a run computes the rest and names them.", ge=0
    )
    connect_seconds: float = row(5.0, "seconds", "How long a scheduler may take to answer.", gt=0)
    cancel_seconds: float = row(
        10.0, "seconds", "How long an interrupted run waits for the blocks that are being computed.", ge=0
    )
    ilp_elements: int = row(
        200_000_000, "elements", "Numbers read from one project file in all; files that declare more are refused.", ge=1
    )
    training_memory: ByteSize = row(
        4096 * MIB, "bytes", "Features of all annotated voxels of one training; more is refused.", shown="4GiB", ge=MIB
    )
    model_bytes: ByteSize = row(
        64 * MIB, "bytes", "Arrays of one classifier's file, and a pickle that one is made from.", shown="64MiB", ge=1
    )
    image_pixels: int = row(
        1 << 28,
        "pixels",
        "Largest PNG, JPEG, or compressed strip or tile of a TIFF that is decoded; larger ones are refused unread.",
        ge=1,
    )
    tiff_pages: int = row(200_000, "pages", "Most pages of a TIFF; one with more is refused.", ge=1)
    tiff_directory: ByteSize = row(
        64 * MIB, "bytes", "Most that one page of a TIFF may say about itself, such as OME-XML.", shown="64MiB", ge=1
    )
    store_retries: int = row(
        4, "attempts", "How often a request to a web server or an object store that failed is tried again.", ge=0
    )
    chunk_cache: ByteSize = row(
        32 * MIB,
        "bytes",
        "Decoded chunks, strips and pictures of volumes that one process keeps for the boxes beside. One that is "
        "larger is decoded by each box that touches it.",
        shown="32MiB",
        ge=0,
    )
    scratch_cache: ByteSize = row(
        10240 * MIB,
        "bytes",
        "Chunks of Zarr volumes in object stores and on web servers that a machine keeps on disk while they are read, "
        "for the blocks beside; 0 for none.",
        shown="10GiB",
        ge=0,
    )
    scratch_dir: Path | None = row(
        None, "folder", "Where these lie: the fastest disk that there is.", shown="`chunks` below `data_dir`"
    )
    handle_cache: int = row(32, "files", "Volume files that one process keeps open.", ge=1)
    debug: bool = row(False, "0 or 1", "Whether the command shows the traceback of an error that should not happen.")
    data_dir: Path = row(
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
    except SettingsError as error:
        name = str(error).split('"')[1].upper()
        text = f'{PREFIX}{name} is not usable: it is to be JSON, such as {{"pipeline": {{"parameter": "value"}}}}'
        raise PlanError(text, code="setting") from None
    except OverflowError:  # of a size that is no number any more
        name = max((name for name in os.environ if name.startswith(PREFIX)), key=lambda name: len(os.environ[name]))
        raise PlanError(f"{name} is not usable: no size has so many digits", code="setting") from None


def unknown_variables() -> dict[str, str]:
    """Variables of the environment that look like settings and are none, each with what may have been meant."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    found = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    return {name: f"no such setting{did_you_mean(name, known)}" for name in found}


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
    names = {
        name: None for part in (Settings, *PARTS) for name in part.__annotations__ if name in Settings.model_fields
    }
    for name in names:
        field = Settings.model_fields[name]
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        default = extra["shown"] or field.default
        lines.append(f"| `{PREFIX}{name.upper()}` | {extra['unit']} | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(settings_page())
