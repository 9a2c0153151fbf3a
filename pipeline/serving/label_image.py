"""Objects of a time frame for `/labelimage`: smoothed, thresholded and labelled as a whole when somebody asks.

As the service did that came before. Settings may change from one request to the next, so a frame is kept only beside
the settings that it was made with: the last few, and only small ones.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.blocks import Box, grid
from pipeline.config import settings
from pipeline.errors import AbandonedError, BusyError, TooLargeError
from pipeline.labelling import label_frame
from pipeline.serving.engine import Engine
from pipeline.serving.layer import Layer
from pipeline.thresholding import Thresholding

Labels = npt.NDArray[np.uint32]
WAIT_SECONDS = 0.2  # between two looks at whether the client still waits
MOST_WAITING = 16  # requests that may wait for their turn


@dataclass(frozen=True)
class LabelSettings:
    """What the old thresholding service could be told.

    Parameters
    ----------
    threshold : float
        Voxels above it belong to objects.
    channel : int
        Which class's probability.
    sigmas : tuple of float, optional
        Of the smoothing along x, y and, in 3-D, z, in voxels; 1 along each by default.
    """

    threshold: float = 0.5
    channel: int = 0
    sigmas: tuple[float, ...] | None = None

    def thresholding(self) -> Thresholding:
        """The same for `pipeline.labelling`."""
        base = Thresholding.old_service(self.channel, self.threshold)
        if self.sigmas is None:
            return base
        x, y, z = (*self.sigmas, 1.0)[:3]
        return replace(base, sigma_zyx=(z, y, x))


class LabelImages:
    """Label images of one process, one made at a time; safe to use from several threads.

    Parameters
    ----------
    limit : int
        Bytes of finished frames that are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames: OrderedDict[tuple[Any, ...], Labels] = OrderedDict()
        self._turn = threading.Lock()
        self._waiting = threading.Semaphore(MOST_WAITING)

    def make(
        self, engine: Engine, layer: Layer, t: int, wanted: LabelSettings, abandoned: Callable[[], bool]
    ) -> Labels:
        """Objects of a frame.

        Parameters
        ----------
        engine : Engine
        layer : Layer
            Probabilities.
        t : int
            The time frame.
        wanted : LabelSettings
        abandoned : callable
            True gives up.

        Returns
        -------
        ndarray, (z, y, x), uint32
            0 outside of objects; numbers follow the first voxel, x fastest. Not to be written to.

        Raises
        ------
        TooLargeError
            If the frame has more voxels than the setting `label_frame_voxels`.
        BusyError
            If too many requests wait already.
        AbandonedError
            If nobody waits any more.
        """
        _check_size(layer)
        key = (layer.digest, t, wanted)
        if not self._waiting.acquire(blocking=False):
            raise BusyError("label images are made one after the other, and many wait already", retry_after=5.0)
        try:
            while not self._turn.acquire(timeout=WAIT_SECONDS):
                if abandoned():
                    raise AbandonedError("nobody waits for the label image any more")
            try:
                if key not in self._frames:
                    self._keep(key, _label(engine, layer, t, wanted, abandoned))
                self._frames.move_to_end(key)
                labels = self._frames[key]
                self._trim()
                return labels
            finally:
                self._turn.release()
        finally:
            self._waiting.release()

    def _keep(self, key: tuple[Any, ...], labels: Labels) -> None:
        labels.flags.writeable = False
        self._frames[key] = labels

    def _trim(self) -> None:
        while self._frames and sum(frame.nbytes for frame in self._frames.values()) > self._limit:
            self._frames.popitem(last=False)


def _check_size(layer: Layer) -> None:
    voxels, most = layer.whole(0).size // layer.whole(0).shape[0], settings().label_frame_voxels
    if voxels > most:
        raise TooLargeError(
            f"a frame of {layer.volume.name} has {voxels:,} voxels; up to {most:,} are labelled on request. "
            "Label the volume with: voxelforest segment PROJECT RAW OUT",
            code="label_frame",
        )


def _label(engine: Engine, layer: Layer, t: int, wanted: LabelSettings, abandoned: Callable[[], bool]) -> Labels:
    """Read one class of the frame, in parts as large as one read may be, and label it."""
    _, depth, height, width = layer.whole(0).shape
    probability = np.empty((1, depth, height, width), layer.dtype)
    rows = max(1, int(settings().request_bytes) // (layer.voxel_bytes * width))
    part = (1, max(1, rows // height), min(rows, height), width)
    for box in grid(Box((t, 0, 0, 0), (t + 1, depth, height, width)), part):
        start, stop = layer.along(box.start, wanted.channel), layer.along(box.stop, wanted.channel + 1)
        values = engine.read(layer, 0, start, stop, bulk=True, abandoned=abandoned)
        _, z, y, x = (slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
        probability[0, z, y, x] = values.reshape(box.shape[1:])
    labels, _ = label_frame(probability, replace(wanted, channel=0).thresholding(), dtype="uint32")
    return labels
