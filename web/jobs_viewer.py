"""Neuroglancer over what came of a job: the detections over the data that they were found in."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from pipeline.analyses.result import CLASSES, DATA, DETECTIONS, OBJECTS
from pipeline.jobs.job import Job
from pipeline.jobs.results import Results, results_of
from pipeline.volume import Volume
from web import client_files
from web.viewer_state import COLORED_CHANNELS, GREY_SHADER, PIXELS, UNITS, State

TINTS = ("1.0, 0.35, 1.0", "0.35, 1.0, 0.35", "0.4, 0.6, 1.0")  # magenta and green: seen apart by nearly all eyes
CLASS_COLORS = {"1": "#9aa8a2", "2": "#ff9d2e", "3": "#35d0ff"}  # edge, non-GABA, GABA
FOUND_COLOR = "#ffe14d"


def make_viewer_url(job: Job, base: str, results: str) -> str | None:
    """Path of Neuroglancer with the results of a job; None where it is not installed, or there is nothing to show.

    Parameters
    ----------
    base : str
        Where the server is.
    results : str
        Path that the results are served below.
    """
    if not client_files.find_folder():
        return None
    state = make_job_state(results_of(job), f"{base}{results}")
    if state is None:
        return None
    return f"{client_files.PLACE}#!{quote(json.dumps(state, separators=(',', ':')))}"


def make_job_state(results: Results, url: str) -> State | None:
    """A Neuroglancer state of the images among results; None if there are none.

    Parameters
    ----------
    url : str
        Where they are served.
    """
    found = results.volume(DETECTIONS)
    if found is None:
        return None
    layers = _data_layers(results.volume(DATA), f"{url}/{DATA}")
    layers += _found_layers(results, found, url)
    axes = [axis for axis in "xyz" if axis in found.dims]
    lengths = dict(zip(found.dims, found.shape, strict=True))
    return {
        "dimensions": {axis: _scale(found, axis) for axis in axes},
        "position": [lengths[axis] // 2 + 0.5 for axis in axes],
        "crossSectionScale": max(lengths["y"], lengths["x"]) / PIXELS,
        "layout": "xy",
        "crossSectionBackgroundColor": "#000000",
        "showAxisLines": False,
        "showDefaultAnnotations": False,
        "layers": layers,
        "selectedLayer": {"layer": layers[0]["name"], "visible": False},
    }


def _data_layers(data: Volume | None, url: str) -> list[State]:
    """Each channel in a colour of its own, added up; one alone is grey."""
    if data is None:
        return []
    names = data.channel_names or ("data",)
    if "c" not in data.dims:
        return [{"type": "image", "name": names[0], "source": _source(data, url), "shader": GREY_SHADER}]
    layers: list[State] = []
    for channel, name in enumerate(names[:COLORED_CHANNELS]):
        shader = (
            f"#uicontrol invlerp contrast(channel={channel})\n"
            f"void main() {{\n  emitRGB(vec3({TINTS[channel]}) * contrast());\n}}\n"
        )
        layers.append(
            {
                "type": "image",
                "name": name,
                "source": _source(data, url),
                "shader": shader,
                "opacity": 1,
                "blend": "additive",
            }
        )
    return layers


def _found_layers(results: Results, found: Volume, url: str) -> list[State]:
    layers: list[State] = []
    if results.volume(f"{DETECTIONS}/labels/{OBJECTS}") is not None:
        source = _source(found, f"{url}/{DETECTIONS}/labels/{OBJECTS}")
        layers.append({"type": "segmentation", "name": "detections", "source": source, "selectedAlpha": 0.5})
    else:
        source = _source(found, f"{url}/{DETECTIONS}")
        segments = {"segments": ["255"], "segmentColors": {"255": FOUND_COLOR}}
        layers.append({"type": "segmentation", "name": "detections", "source": source, **segments})
    classes = results.volume(CLASSES)
    if classes is not None:
        source = _source(classes, f"{url}/{CLASSES}")
        shown = {"segments": list(CLASS_COLORS), "segmentColors": CLASS_COLORS}
        layers.append({"type": "segmentation", "name": "classes", "source": source, "visible": False, **shown})
    return layers


def _source(volume: Volume, url: str) -> State:
    """A source moved by half a voxel, as in `web.viewer_state`, whose channels the shader sees together."""
    rank = len(volume.dims)
    matrix = [[float(row == column) for column in range(rank)] for row in range(rank)]
    for row, axis in zip(matrix, volume.dims, strict=True):
        row.append(0.5 if axis in "zyx" else 0.0)
    outputs: dict[str, Any] = {
        ("c^" if axis == "c" else axis): [1, ""] if axis == "c" else _scale(volume, axis) for axis in volume.dims
    }
    return {"url": f"{url}/|zarr3:", "transform": {"matrix": matrix, "outputDimensions": outputs}}


def _scale(volume: Volume, axis: str) -> list[Any]:
    factor, unit = UNITS.get(str(volume.units.get(axis)), (1.0, ""))
    return [volume.spacing.get(axis, 1.0) * factor, unit]
