"""An analysis as another package would bring it: small, real and resumable, so that jobs can be killed often.

It finds the voxels of the first channel that are at least as bright as a threshold, block by block, and counts them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from pipeline.analyses.analysis import Analysis, AnalysisRequest, Parameter
from pipeline.analyses.folder import prepare
from pipeline.analyses.result import AnalysisResult, open_result, read_provenance, write_provenance
from pipeline.blocks import Box, grid
from pipeline.errors import ChannelError
from pipeline.formats.source import fingerprint_of
from pipeline.images import ImageSpec
from pipeline.run_steps import connected, run_key
from pipeline.store import Store, create
from pipeline.volume import Volume
from pipeline.window import run_windowed

BLOCK = (1, 8, 16, 16)
FILE = "bright.zarr"
IMAGE = "bright"


def _choose(names: Sequence[str], parameters: Mapping[str, Any]) -> tuple[str, ...]:
    if not names:
        raise ChannelError("there are no channels", code="channels")
    return tuple(names[:1])


def _find(volume: Volume, store: Store, threshold: int, pause: float, box: Box) -> None:
    time.sleep(pause)
    values = volume.read(box)[0, 0]
    store.write(IMAGE, box.start[1:], np.where(values >= threshold, 255, 0).astype(np.uint8))


def _run(request: AnalysisRequest) -> AnalysisResult:
    folder = prepare(request.folder, request.digest, request.mode, request.channels.paths)
    if folder.finished:
        return open_result(folder.target)
    (volume,) = list(request.channels.values())[:1]
    image = ImageSpec(IMAGE, "zyx", request.channels.shape_zyx, BLOCK[1:], "uint8")
    made_of = {"analysis": request.name, "digest": request.digest}
    digest = fingerprint_of(request.digest, FILE)
    try:
        store = create(
            folder.partial / FILE, (image,), provenance=made_of, digest=digest, mode=folder.mode, final_axes="zyx"
        )
        with closing(store):
            if read_provenance(folder.partial) is None:
                _compute(request, store, volume)
                table = pandas.DataFrame({"id": [1]})
                table.to_csv(folder.partial / "table.csv", index=False)
                said = {"objects": 1, "parameters": dict(request.parameters), "volumes": {"All": FILE}, "links": {}}
                write_provenance(folder.partial, {**made_of, **said, "origin_zyx": list(request.channels.origin_zyx)})
            store.finish()
        folder.publish()
    finally:
        folder.close()
    return open_result(folder.target, reused=False)


def _compute(request: AnalysisRequest, store: Store, volume: Volume) -> None:
    boxes = list(grid(volume.whole, BLOCK))
    todo = [box for box in boxes if not (store.resumed and store.is_written(IMAGE, box.start[1:], box.stop[1:]))]
    with connected(request.scheduler, request.workers, store) as client:
        with request.progress.stage("find", blocks=len(todo), voxels=sum(box.size for box in todo)) as stage:
            run_windowed(
                client,
                _find,
                todo,
                window=4,
                key_prefix=f"find-{run_key(store)}",
                shared=(volume, store, request.parameters["threshold"], request.parameters["pause"]),
                on_done=lambda box, _: stage.advance(box.size),
                cancelled=request.cancelled,
            )
        for level in store.level_blocks(IMAGE):
            for block in level:
                store.build_level_block(IMAGE, block.level, block.start, block.stop)


ANALYSIS = Analysis(
    name="bright-voxels",
    title="Bright voxels",
    summary="Finds what is bright.",
    help="Voxels of the first channel that reach the threshold.",
    parameters=(
        Parameter("threshold", int, 128, "Smallest value that counts.", minimum=0, maximum=255),
        Parameter("pause", float, 0.0, "How long each block rests.", minimum=0.0, maximum=60.0, unit="seconds"),
        Parameter("model", Path, None, "A file that is not used.", server_only=True),
    ),
    channels_rule=_choose,
    reading_rule=_choose,
    run=_run,
)
