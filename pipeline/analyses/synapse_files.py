"""The files of a synapse analysis: its images, made in the partial folder, and the documents beside them."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.analyses.analysis import AnalysisRequest
from pipeline.analyses.channel_choice import detection_channels
from pipeline.analyses.channels import ChannelSet
from pipeline.analyses.classification import CLASS_MAP, EDGE_NAME, ClassPainter, shown_classes, volume_names
from pipeline.analyses.detection import MASK
from pipeline.analyses.folder import ResultFolder
from pipeline.analyses.result import (
    CLASSES,
    DATA,
    DETECTIONS,
    OBJECTS,
    PARQUET,
    REPORT,
    TABLE,
    read_provenance,
    write_provenance,
)
from pipeline.analyses.thumbnails import Thumbnails
from pipeline.blocks import Box, grid_shape
from pipeline.config import settings
from pipeline.formats.source import fingerprint_of
from pipeline.images import ImageSpec
from pipeline.labelling import LabelPlan
from pipeline.object_files import write_table
from pipeline.plan import choose_chunk
from pipeline.store import Store, create

if TYPE_CHECKING:
    import pandas

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
        image = partial(_specify, request.channels, plan)
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
            data = make(DATA, image(DATA_IMAGE, "uint8", channel_names=_pair(request), value_range=(0.0, 255.0)))
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
        provenance=_origin(request),
        digest=fingerprint_of(request.digest, file),
        mode=folder.mode,
        final_axes="zyx",
    )


def _specify(channels: ChannelSet, plan: LabelPlan, name: str, dtype: str, **more: Any) -> ImageSpec:
    """An image of the volume, with an axis c where it has names of channels but is no map of classes."""
    chunk = choose_chunk(plan.image.shape, settings().chunk_voxels)
    sharded = math.prod(grid_shape(plan.image, chunk)) > settings().shard_above
    file = [-(-n // c) * c for n, c in zip(plan.block, chunk, strict=True)]
    n_channels = [len(more["channel_names"])] if name == DATA_IMAGE else []
    return ImageSpec(
        name,
        "czyx" if n_channels else "zyx",
        (*n_channels, *plan.image.shape[1:]),
        (*n_channels, *chunk[1:]),
        dtype,
        spacing=channels.spacing,
        units=channels.units,
        origin=dict(zip("zyx", map(float, channels.origin_zyx), strict=True)),
        shards=(*n_channels, *file[1:]) if sharded else None,
        **more,
    )


def _origin(request: AnalysisRequest) -> dict[str, Any]:
    """Where results come from, as JSON values; the same for all files."""
    channels = request.channels
    return {
        "software": f"voxelforest {version('voxelforest')}",
        "analysis": request.name,
        "digest": request.digest,
        "parameters": {name: _plain(value) for name, value in request.parameters.items()},
        "channels": channels.urls,
        "channel_digests": {name: volume.digest for name, volume in channels.items()},
        "origin_zyx": list(channels.origin_zyx),
        "shape_zyx": list(channels.shape_zyx),
        "spacing": channels.spacing,
        "units": channels.units,
    }


def _plain(value: Any) -> Any:
    """A JSON value; of a file its name alone, since results are shown to people whom the server's folders are not."""
    return value.name if isinstance(value, Path) else value


def write_documents(
    request: AnalysisRequest,
    folder: ResultFolder,
    files: SynapseFiles,
    table: pandas.DataFrame,
    said: Mapping[str, Any],
    thumbnails: Thumbnails,
) -> None:
    """Write table and report, and at last what says that nothing is missing but the images' names."""
    from pipeline.report import write_report  # what it draws with is large

    place, origin = folder.partial, _origin(request)
    links = {"table": TABLE, "report": REPORT}
    write_table(place / TABLE, [table], origin)
    if importlib.util.find_spec("pyarrow") is not None:
        write_table(place / PARQUET, [table], origin)
        links["parquet"] = PARQUET
    shown = {name: str(value) for name, value in origin["parameters"].items() if value is not None}
    channels = request.channels
    unit = str(table["unit"].iloc[0]) if len(table) else "voxel"
    write_report(
        table,
        place / REPORT,
        title=f"{request.name}: {len(table):,} detections",
        parameters={**shown, "channels": ", ".join(channels)},
        thumbnails=thumbnails.draw,
        spacing_zyx=tuple(channels.spacing.get(axis, 1.0) for axis in "zyx"),
        unit=unit,
        shape_zyx=channels.shape_zyx,
        origin_zyx=channels.origin_zyx,
        class_names=(EDGE_NAME, *files.model.class_names) if files.model is not None else (),
    )
    if files.data is not None:
        links["data"] = DATA
    if files.classes:
        links["classes"] = CLASSES
    document = {**origin, "objects": len(table), "volumes": files.volumes, "links": links, **said}
    write_provenance(place, document)
