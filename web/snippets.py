"""Lines to copy from the page: the same volume in other programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.serving.layer import Layer


class Snippet(NamedTuple):
    """Something to copy: what it is for, and the text."""

    title: str
    text: str


def make_snippets(layers: Sequence[Layer], base: str, viewer: str | None) -> list[Snippet]:
    """Lines for Neuroglancer, napari and Python.

    Parameters
    ----------
    layers : sequence of Layer
        Of one volume, raw data first.
    base : str
        Where the server is.
    viewer : str or None
        The whole URL of Neuroglancer with its state.
    """
    shown = next((layer for layer in layers if layer.name == "probabilities"), layers[0])
    urls = {layer.name: f"{base}/data/{layer.volume.name}/{layer.name}/{layer.digest}" for layer in layers}
    url = urls[shown.name]
    found = [Snippet("Neuroglancer", viewer)] if viewer else []
    return [
        *found,
        Snippet("Neuroglancer, a source in another one", f"{url}/zarr/|zarr3:"),
        Snippet("napari", napari_script(layers, urls)),
        Snippet("Python", f'from pipeline import open_volume\n\nvalues = open_volume("{url}/zarr")\n'),
        Snippet("zarr-python", f'import zarr\n\nlevel = zarr.open_array("{url}/zarr/0", mode="r")\n'),
        Snippet(
            "tensorstore",
            "import tensorstore\n\n"
            f'kvstore = {{"driver": "http", "base_url": "{url}/zarr/0/"}}\n'
            'level = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result()\n',
        ),
    ]


def napari_script(layers: Sequence[Layer], urls: dict[str, str]) -> str:
    """A script that opens raw data and probabilities, all levels, in napari."""
    lines = ["import dask.array as da", "import napari", "", "viewer = napari.Viewer()"]
    for layer in layers:
        if layer.name not in ("raw", "probabilities", "labels"):
            continue
        levels = f'[da.from_zarr(f"{urls[layer.name]}/zarr/{{level}}") for level in range({len(layer.levels)})]'
        options = [f"scale={[layer.spacing.get(axis, 1.0) for axis in layer.dims if axis != 'c']}"]
        if "c" in layer.dims:
            options.append(f"channel_axis={layer.dims.index('c')}")
        if layer.channel_names and "c" in layer.dims:
            options += [f"name={list(layer.channel_names)}", "blending='additive'", "contrast_limits=[0, 1]"]
        else:
            options.append(f"name={layer.name!r}")
        add = "add_labels" if layer.name == "labels" else "add_image"
        lines += [f"levels = {levels}", f"viewer.{add}(levels, {', '.join(options)})"]
    return "\n".join([*lines, "napari.run()", ""])
