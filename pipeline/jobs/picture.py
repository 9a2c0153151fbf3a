"""A picture of what a job found: the plane where most is, with the detections in colour over the data."""

from __future__ import annotations

import functools
import io

import numpy as np
import numpy.typing as npt

from pipeline.analyses.result import DATA, DETECTIONS, OBJECTS
from pipeline.blocks import Box
from pipeline.errors import PipelineError
from pipeline.jobs.results import Results
from pipeline.preview import draw_overlay, middle
from pipeline.volume import Volume

LOOKED_AT = 64  # planes, evenly spread, that are looked at for the one where most is
KEPT = 32  # pictures


def draw_job(results: Results) -> bytes | None:
    """A PNG of results; None if there are no images among them.

    Parameters
    ----------
    results : Results
        Of one job.
    """
    try:
        document = results.open(f"{DETECTIONS}/zarr.json")
        document.file.close()
        return _draw(results, document.tag)
    except (OSError, PipelineError):
        return None


@functools.lru_cache(maxsize=KEPT)
def _draw(results: Results, _tag: str) -> bytes | None:
    from PIL import Image

    found, data = results.volume(DETECTIONS), results.volume(DATA)
    if found is None:
        return None
    box = _choose(found)
    mask = found.read(box)[0, 0, 0]
    grey = np.zeros(mask.shape, np.float32) if data is None else data.read(box)[0].mean(axis=0)[0]
    picture = draw_overlay(grey, _labels(results, box, mask))
    target = io.BytesIO()
    Image.fromarray(picture).save(target, format="PNG")
    return target.getvalue()


def _choose(found: Volume) -> Box:
    """The middle of the plane with the most voxels found, of those that are looked at."""
    part = middle(found.whole)
    z0, z1 = found.whole.start[1], found.whole.stop[1]
    planes = np.unique(np.linspace(z0, z1 - 1, min(LOOKED_AT, z1 - z0)).astype(int))
    boxes = [Box((part.start[0], z, *part.start[2:]), (part.stop[0], z + 1, *part.stop[2:])) for z in planes.tolist()]
    counts = [np.count_nonzero(found.read(box)) for box in boxes]
    return boxes[int(np.argmax(counts))] if max(counts) else part


def _labels(results: Results, box: Box, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Ids where there are some, so that objects beside each other are told apart."""
    labels = results.volume(f"{DETECTIONS}/labels/{OBJECTS}")
    if labels is not None:
        values: npt.NDArray[np.uint64] = labels.read(box)[0, 0, 0].astype(np.uint64)
        return values
    return (mask > 0).astype(np.uint64)
