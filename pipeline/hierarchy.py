"""Groups of an output in a zarr folder: where its images lie, and the attributes of each group.

A lone image is the root, several are a group each. Labels of the objects in a lone image lie in ``labels/NAME``, as
OME-Zarr wants it. What a run needs for itself lies in ``scratch`` and is gone when the output is finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import zarr

from pipeline.images import ImageSpec
from pipeline.metadata import OWN_KEY, OmeVersion, image_attributes, label_attributes, label_list

SCRATCH = "scratch"
LABELS = "labels"


def group_of(spec: ImageSpec, images: Sequence[ImageSpec]) -> str:
    """The group of an image among those of an output; the root is ``""``."""
    if spec.role == "labels":
        return f"{LABELS}/{spec.name}"
    if spec.role == "scratch":
        return f"{SCRATCH}/{spec.name}"
    return spec.name if sum(other.role == "image" for other in images) > 1 else ""


def write_attributes(
    root: zarr.Group, images: Sequence[ImageSpec], version: OmeVersion, record: Mapping[str, Any]
) -> None:
    """Write what makes a folder of arrays an image, or several, with labels.

    Parameters
    ----------
    root : zarr.Group
    images : sequence of ImageSpec
    version : {"0.5", "0.4"}
    record : mapping
        Of the output; ``largest_label``, if there are labels, decides whether their colours are written down.
    """
    own = {key: record[key] for key in ("digest", "provenance", "complete")}
    labels = [spec for spec in images if spec.role == "labels"]
    if labels:
        root.require_group(LABELS).attrs.update(label_list([spec.name for spec in labels], version))
    for spec in labels:
        attributes = label_attributes(spec, version, own, record.get("largest_label", 0))
        root.require_group(group_of(spec, images)).attrs.update(attributes)
    for spec in (spec for spec in images if spec.role == "image"):
        group = group_of(spec, images)
        if group:
            root.require_group(group).attrs.update(image_attributes(spec, version, own))
        else:
            root.attrs.update(image_attributes(spec, version, record))
            return
    root.attrs.update({OWN_KEY: dict(record)})
