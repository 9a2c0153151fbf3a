"""The rows of `pipeline.config` about servers: caches, what requests may cost, who may ask."""

from __future__ import annotations

from pydantic import ByteSize, SecretStr
from pydantic_settings import BaseSettings

from pipeline.setting import MIB, row


class ServerSettings(BaseSettings):
    """What a server keeps, and what those who ask may take."""

    cache_bytes: ByteSize = row(
        900 * MIB, "bytes", "Computed blocks that a server keeps for the next request.", shown="900MiB", ge=MIB
    )
    response_cache: ByteSize = row(
        128 * MIB,
        "bytes",
        "Encoded chunks and tiles that each front end keeps, to give them out again without the app.",
        shown="128MiB",
        ge=0,
    )
    coarse_tile_voxels: int = row(
        1 << 22,
        "voxels",
        "Voxels of full resolution that a tile of a coarse level may cost; levels above are predicted from coarse raw "
        "data, and say that they are approximate.",
        ge=1,
    )
    coarse_raw_voxels: int = row(
        1 << 27,
        "voxels",
        "Voxels of raw data that a tile of a coarse level may be averaged from; levels above come from the file's own "
        "pyramid, or are not there.",
        ge=1,
    )
    request_bytes: ByteSize = row(
        256 * MIB, "bytes", "Most that one request to a server may ask for, decoded.", shown="256MiB", ge=1
    )
    flight_bytes: ByteSize = row(
        1 << 30,
        "bytes",
        "Answers, and blocks for them, that a server may have in the making; requests beyond are told to come again.",
        shown="1GiB",
        ge=MIB,
    )
    flight_tasks: int = row(
        512, "tasks", "Block tasks that a server may have waiting; requests beyond are told to come again.", ge=1
    )
    viewer_tasks: int = row(
        8, "tasks", "Block tasks that a request may need to go before bulk requests, as somebody looking does.", ge=1
    )
    bulk_requests: int = row(
        4, "requests", "Bulk requests that may wait for their turns; more are told to come again.", ge=1
    )
    request_seconds: float = row(
        300.0, "seconds", "How long a request may wait for its blocks before it is told to come again.", gt=0
    )
    upload_bytes: ByteSize = row(
        64 * MIB, "bytes", "Largest project file that a server takes as an upload.", shown="64MiB", ge=1
    )
    uploads: int = row(100, "files", "Uploaded projects that a server keeps; more are refused.", ge=0)
    label_frame_voxels: int = row(
        512**3,
        "voxels",
        "Largest frame that a server labels when it is asked for; larger ones need a run of `voxelforest segment`.",
        ge=1,
    )
    found_runs: int = row(
        1000,
        "outputs",
        "Outputs in one folder that a server looks at for finished runs of `voxelforest segment`.",
        ge=0,
    )
    label_cache: ByteSize = row(
        8192 * MIB,
        "bytes",
        "Labelled frames that servers keep in `data_dir`; those that nobody has asked for the longest go first.",
        shown="8GiB",
        ge=0,
    )
    head_seconds: float = row(
        10.0, "seconds", "How long a client may take to send the head of a request before a server hangs up.", gt=0
    )
    exchange_seconds: float = row(
        300.0,
        "seconds",
        "How long a request may take altogether, its body and the reading of the answer included.",
        gt=0,
    )
    old_block_edge: int = row(
        64, "voxels", "Edge of the blocks that the block routes of ilastik-backend's API count by.", ge=1
    )
    token: SecretStr | None = row(
        None, "text", "What requests to a server have to show; needed on addresses other than loopback.", shown="none"
    )
    event_streams: int = row(
        16,
        "requests",
        "Pages that may watch jobs live at a time; each takes a thread, further ones ask in turns.",
        ge=0,
    )
