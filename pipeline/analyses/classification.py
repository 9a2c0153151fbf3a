"""Classes of detections, and the volumes that show them: one map of all classes, and a mask for each but the edge."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.analyses.detection import has_image, write_image
from pipeline.analyses.result import CLASSES, OBJECTS
from pipeline.blocks import Box
from pipeline.errors import AnalysisError
from pipeline.segmentation_images import read_image
from pipeline.store import Store

EDGE = 0
EDGE_NAME = "edge"
CLASS_MAP = "classes"

Classes = npt.NDArray[np.int64]


def relabel_as_original(classes: Classes) -> Classes:
    """Classes as the original handed them out: to detection number 2, whichever it was that was GABA.

    Parameters
    ----------
    classes : ndarray, (n,)
        0 at the edge, 1 and 2 as the forest says; by id.

    Raises
    ------
    AnalysisError
        With the code ``legacy``, where the original failed.

    Notes
    -----
    The original read the array that it was changing: what it had changed before it came there lost its turn, and the
    predictions of all detections after that moved by one. Source: reference/nomads/SEMANTICS section 4, step 7.
    """
    predictions = classes[classes != EDGE] - 1
    ids = (classes != EDGE).astype(np.int64)
    pointer = 0
    for i in range(len(ids)):
        if ids[i] != 1:
            continue
        if predictions[pointer] == 1:
            if len(ids) == 1:
                text = "the only detection is of the second class; the original fails on that, so legacy has no answer"
                raise AnalysisError(text, code="legacy")
            ids[1] = 2
        pointer += 1
    return ids


def volume_names(class_names: Sequence[str]) -> dict[int, tuple[str, str]]:
    """For each class its name as a channel and its folder.

    Examples
    --------
    >>> volume_names(("non-GABA", "GABA"))
    {1: ('NonGaba', 'non_gaba.zarr'), 2: ('Gaba', 'gaba.zarr')}
    """
    words = {number: re.findall(r"[a-z0-9]+", name.lower()) for number, name in enumerate(class_names, 1)}
    return {
        number: ("".join(word.capitalize() for word in found), "_".join(found) + ".zarr")
        for number, found in words.items()
    }


@dataclass(frozen=True, eq=False)
class ClassPainter:
    """Paints the map of classes and the mask of each, block by block; picklable.

    Parameters
    ----------
    objects : Store
        Holds the labels.
    stores : mapping of str to Store
        By their folders.
    masks : mapping of int to str
        Folder of the mask of a class.
    classes : ndarray, (n + 1,), uint8
        By id, 0 for the background and for the edge what is shown for it.
    image : Box
    """

    objects: Store
    stores: dict[str, Store]
    masks: dict[int, str]
    classes: npt.NDArray[np.uint8]
    image: Box

    def paint(self, box: Box) -> None:
        """Write a block of all of them."""
        shown = self.classes[read_image(self.objects, OBJECTS, box, self.image)[:, 0]]
        write_image(self.stores[CLASSES], CLASS_MAP, box, self.image, shown)
        for number, folder in self.masks.items():
            mask = np.where(shown == number + 1, np.uint8(255), np.uint8(0))
            write_image(self.stores[folder], CLASS_MAP, box, self.image, mask)

    def is_painted(self, box: Box) -> bool:
        """Whether all of them have a block."""
        return all(has_image(store, CLASS_MAP, box, self.image) for store in self.stores.values())


def paint_block(painter: ClassPainter, box: Box) -> None:
    """The task."""
    painter.paint(box)


def shown_classes(classes: Classes) -> npt.NDArray[np.uint8]:
    """Values of the map by id: 0 background, 1 edge, 2 the first class, 3 the second."""
    return np.concatenate([[0], classes + 1]).astype(np.uint8)
