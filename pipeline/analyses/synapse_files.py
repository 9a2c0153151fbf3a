"""The images of a synapse analysis, made in the partial folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.analyses.analysis import AnalysisRequest
from pipeline.analyses.channel_choice import detection_channels
from pipeline.analyses.classification import CLASS_MAP, EDGE_NAME, ClassPainter, shown_classes, volume_names
from pipeline.analyses.detection import MASK
from pipeline.analyses.documents import describe_origin, specify_image
from pipeline.analyses.folder import ResultFolder
from pipeline.analyses.result import CLASSES, DATA, DETECTIONS, OBJECTS, read_provenance
from pipeline.blocks import Box
from pipeline.config import settings
from pipeline.formats.source import fingerprint_of
from pipeline.images import ImageSpec
from pipeline.labelling import LabelPlan
from pipeline.plan import choose_chunk
from pipeline.store import Store, create

if TYPE_CHECKING:
    from pipeline.analyses.model import CubeModel

ALL = "All"
DATA_IMAGE = "data"
CLASS_COLORS = ((128, 128, 128), (255, 64, 64), (64, 128, 255), (64, 255, 64), (255, 255, 64))


@dataclass(frozen=True, eq=False)
class SynapseFiles:
    """The images that are being made.

    Parameters
    ----------
    detections : Store
    classes : mapping of str to Store
        The map of classes and the mask of each, by folder; empty without a model.
    data : Store, optional
    model : CubeModel, optional
    """

    detections: Store
    classes: Mapping[str, Store]
    data: Store | None
    model: CubeModel | None

    @classmethod
    def begin(
        cls, request: AnalysisRequest, folder: ResultFolder, model: CubeModel | None, plan: LabelPlan
    ) -> SynapseFiles:
        """Begin all images, or go on with them."""
        chunk = choose_chunk(plan.image.shape, settings().chunk_voxels)
        image = partial(specify_image, request.channels, plan.block, chunk)
        make = partial(_create, request, folder)
        detections = make(
            DETECTIONS,
            image(MASK, "uint8", value_range=(0.0, 255.0)),
            image(OBJECTS, "uint64", reduce="stride", role="labels"),
        )
        classes = {}
        if model is not None:
            names = (EDGE_NAME, *model.class_names)
            colors = tuple(CLASS_COLORS[k % len(CLASS_COLORS)] for k in range(len(names)))
            shown = image(CLASS_MAP, "uint8", reduce="stride", channel_names=names, channel_colors=colors)
            classes[CLASSES] = make(CLASSES, shown)
            for _, file in volume_names(model.class_names).values():
                classes[file] = make(file, image(CLASS_MAP, "uint8", value_range=(0.0, 255.0)))
        data = None
        if request.parameters["keep_data"]:
            data = make(
                DATA,
                image(DATA_IMAGE, "uint8", n_channels=2, channel_names=_pair(request), value_range=(0.0, 255.0)),
            )
        return cls(detections, classes, data, model)

    @property
    def stores(self) -> list[Store]:
        """All of them."""
        return [self.detections, *self.classes.values(), *([self.data] if self.data is not None else [])]

    @property
    def volumes(self) -> dict[str, str]:
        """What is pushed: name of the channel, and folder."""
        masks = volume_names(self.model.class_names) if self.model is not None else {}
        return {ALL: DETECTIONS, **dict(masks.values())}

    @property
    def links(self) -> dict[str, str]:
        """Images that are not pushed: what they are, and folder."""
        data = {"data": DATA} if self.data is not None else {}
        return {**data, **({"classes": CLASSES} if self.classes else {})}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the values of a class, 0 the edge; empty without a model."""
        return (EDGE_NAME, *self.model.class_names) if self.model is not None else ()

    def finish(self, folder: ResultFolder) -> None:
        """Give all of them their names."""
        self.detections.record["largest_label"] = (read_provenance(folder.partial) or {})["objects"]
        for store in self.stores:
            store.finish()

    def close(self) -> None:
        """Leave those that are not finished to a later run."""
        for store in self.stores:
            store.close()

    def painter(self, classes: npt.NDArray[np.int64], image: Box) -> ClassPainter:
        """What paints classes into the images."""
        assert self.model is not None
        masks = {number: file for number, (_, file) in volume_names(self.model.class_names).items()}
        return ClassPainter(self.detections, dict(self.classes), masks, shown_classes(classes), image)


def _pair(request: AnalysisRequest) -> tuple[str, ...]:
    return detection_channels(tuple(request.channels), request.parameters)


def _create(request: AnalysisRequest, folder: ResultFolder, file: str, *images: ImageSpec) -> Store:
    return create(
        folder.partial / file,
        images,
        provenance=describe_origin(request),
        digest=fingerprint_of(request.digest, file),
        mode=folder.mode,
        final_axes="zyx",
    )
