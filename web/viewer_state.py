"""The state that Neuroglancer begins with: which layers there are, how they are coloured, where one looks.

Layers are read as OME-Zarr, whose coordinates are those of voxel centres. Neuroglancer draws voxel 0 around its
coordinate, from -1/2 to 1/2, but counts voxels of its own formats from their corners, 0 to 1; so each layer's transform
moves it by half a voxel, and position z of the page is plane z of the data. The data stay as they are.

Source: https://github.com/google/neuroglancer/blob/master/python/neuroglancer/viewer_state.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.images import SPATIAL
from pipeline.metadata import axes
from pipeline.project import DEFAULT_COLORS, Color
from pipeline.serving.layer import Layer
from web.documents.images import specify

State = dict[str, Any]

# Metres and seconds to a unit of OME-Zarr.
UNITS = {
    "picometer": (1e-12, "m"), "angstrom": (1e-10, "m"), "nanometer": (1e-9, "m"), "micrometer": (1e-6, "m"),
    "millimeter": (1e-3, "m"), "centimeter": (1e-2, "m"), "meter": (1.0, "m"),
    "millisecond": (1e-3, "s"), "second": (1.0, "s"), "minute": (60.0, "s"), "hour": (3600.0, "s"),
}  # fmt: skip
PIXELS = 600  # of the shorter side of a window, about
COLORED_CHANNELS = 3  # of raw data that are shown together, as red, green and blue
OPACITY = 0.5
THRESHOLD = 0.5

CLASS_SHADER = """#uicontrol vec3 color color(default="{color}")
#uicontrol float threshold slider(min=0, max=1, step=0.01, default={threshold})
void main() {{
  float p = toNormalized(getDataValue({channel}));
  emitRGBA(vec4(color, p < threshold ? 0.0 : p));
}}
"""
GREY_SHADER = """#uicontrol invlerp contrast
void main() {
  emitGrayscale(contrast());
}
"""
"""Colours from black to white over a window that the layer's histogram shows."""


def make_state(layers: Iterable[Layer], window: tuple[float, float], base: str) -> State:
    """A Neuroglancer state that shows the layers of one volume.

    Parameters
    ----------
    layers : iterable of Layer
        Raw data first.
    window : (low, high)
        Values of raw data to show as black and white.
    base : str
        Where the server is, such as ``http://127.0.0.1:8080``.
    """
    shown = list(layers)
    raw = shown[0]
    entries: list[State] = []
    for layer in shown:
        entries += _entries(layer, window, f"{base}/data/{layer.volume.name}/{layer.name}/{layer.digest}/zarr/|zarr3:")
    _tell_apart(entries)
    lengths = dict(zip(raw.dims, raw.levels[0].shape, strict=True))
    own = [axis for axis in raw.dims if axis != "c"]
    return {
        "dimensions": {axis: dimension(raw, axis) for axis in _view_order(own)},
        "position": [lengths[axis] // 2 + 0.5 for axis in _view_order(own)],
        "crossSectionScale": max(lengths["y"], lengths["x"]) / PIXELS,
        "layout": "xy",
        "showDefaultAnnotations": False,
        "layers": entries,
        "selectedLayer": {"layer": entries[0]["name"], "visible": False},
    }


def dimension(layer: Layer, axis: str) -> list[Any]:
    """Size of a voxel along an axis and its unit, as Neuroglancer wants them."""
    units = {entry["name"]: entry.get("unit") for entry in axes(specify(layer))}
    factor, unit = UNITS.get(str(units.get(axis)), (1.0, ""))
    return [layer.spacing.get(axis, 1.0) * factor, unit]


def _view_order(names: Sequence[str]) -> list[str]:
    """x, y, z first: the first three are the axes of the panels."""
    return [axis for axis in "xyzt" if axis in names]


def _source(layer: Layer, url: str) -> State:
    """A source whose spatial axes are moved by half a voxel, and whose channels are seen by the shader together."""
    rank = len(layer.dims)
    matrix = [[float(row == column) for column in range(rank)] for row in range(rank)]
    for row, axis in zip(matrix, layer.dims, strict=True):
        row.append(0.5 if axis in SPATIAL else 0.0)
    outputs = {("c^" if axis == "c" else axis): _scale(layer, axis) for axis in layer.dims}
    return {"url": url, "transform": {"matrix": matrix, "outputDimensions": outputs}}


def _scale(layer: Layer, axis: str) -> list[Any]:
    return [1, ""] if axis == "c" else dimension(layer, axis)


def _entries(layer: Layer, window: tuple[float, float], url: str) -> list[State]:
    source = _source(layer, url)
    if layer.name == "raw":
        return [_raw_entry(layer, window, source)]
    if layer.name == "probabilities":
        colors = _colors(layer)
        return [
            {
                "type": "image",
                "name": name,
                "source": source,
                "opacity": OPACITY,
                "blend": "default",
                "shader": CLASS_SHADER.format(color=hex_color(color), threshold=THRESHOLD, channel=channel),
            }
            for channel, (name, color) in enumerate(zip(layer.channel_names, colors, strict=True))
        ]
    if layer.reduce == "stride":
        entry: State = {"type": "segmentation", "name": layer.name, "source": source, "selectedAlpha": OPACITY}
        if layer.name == "segmentation":
            entry["segmentColors"] = {str(i): hex_color(c) for i, c in enumerate(_colors(layer), start=1)}
        return [{**entry, "visible": False}]  # labels want a whole frame, which nobody may have asked for yet
    shader = {"shader": GREY_SHADER, "shaderControls": {"contrast": {"range": [0, 1]}}}
    return [{"type": "image", "name": layer.name, "source": source, "opacity": OPACITY, "visible": False, **shader}]


def _raw_entry(layer: Layer, window: tuple[float, float], source: State) -> State:
    count = min(layer.n_channels, COLORED_CHANNELS)
    if "c" not in layer.dims or layer.n_channels == 1:
        shader, names = GREY_SHADER, ["contrast"]
    else:
        names = [("red", "green", "blue")[channel] for channel in range(count)]
        controls = [f"#uicontrol invlerp {name}(channel={channel})\n" for channel, name in enumerate(names)]
        values = [f"{name}()" for name in names] + ["0.0"] * (COLORED_CHANNELS - count)
        shader = "".join(controls) + f"void main() {{\n  emitRGB(vec3({', '.join(values)}));\n}}\n"
    ranges = {name: {"range": list(window)} for name in names}
    return {"type": "image", "name": "raw", "source": source, "opacity": 1, "shader": shader, "shaderControls": ranges}


def _colors(layer: Layer) -> Sequence[Color]:
    many = -(-max(len(layer.channel_names), 1) // len(DEFAULT_COLORS))
    return layer.channel_colors or (DEFAULT_COLORS * many)[: len(layer.channel_names)]


def hex_color(color: Color) -> str:
    """Red, green and blue as HTML writes them.

    Examples
    --------
    >>> hex_color((255, 16, 0))
    '#ff1000'
    """
    return "#{:02x}{:02x}{:02x}".format(*color)


def _tell_apart(entries: Sequence[State]) -> None:
    """Number names that come twice: a class may be called raw, too."""
    seen: set[str] = set()
    for entry in entries:
        name, n = entry["name"], 1
        while entry["name"] in seen:
            n += 1
            entry["name"] = f"{name} ({n})"
        seen.add(entry["name"])
