"""What a segmentation keeps: the chosen probability as image, its objects as labels, and channels it needs itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.blocks import AXES, Box, Index, grid_shape
from pipeline.config import settings
from pipeline.errors import StoreError
from pipeline.images import ImageSpec
from pipeline.metadata import OmeVersion
from pipeline.probability_map import ProbabilityMap
from pipeline.result_images import corners, place
from pipeline.store import Store

Array = npt.NDArray[Any]
PROBABILITIES, OBJECTS, FURTHER = "probabilities", "objects", "channels"
ID_TYPES = {".tif": "uint32", ".tiff": "uint32", ".png": "uint16"}  # what these formats hold; all others uint64


@dataclass(frozen=True)
class Channels:
    """Which channels of a map are stored: the chosen one, and further ones that the run removes at its end."""

    chosen: int
    further: tuple[int, ...] = ()

    def place(self, channel: int) -> tuple[str, int]:
        """Image that holds a channel, and its number there."""
        return (PROBABILITIES, 0) if channel == self.chosen else (FURTHER, self.further.index(channel))

    @property
    def stored(self) -> tuple[int, ...]:
        """All of them."""
        return (self.chosen, *self.further)

    @property
    def images(self) -> dict[str, list[int]]:
        """Channels of each image."""
        return {PROBABILITIES: [self.chosen], **({FURTHER: list(self.further)} if self.further else {})}


def specify(
    source: ProbabilityMap,
    channels: Channels,
    blocks: tuple[Index, Index],
    *,
    suffix: str = ".zarr",
    version: OmeVersion = "0.5",
) -> tuple[ImageSpec, ...]:
    """The images of a segmentation.

    Parameters
    ----------
    source : ProbabilityMap
    channels : Channels
    blocks : (predicted, labelled)
        What one task writes of probabilities, and of objects.
    suffix : str
        Of the output; decides the type of ids.
    version : {"0.5", "0.4"}
        OME-Zarr version; 0.4 knows no shards.
    """
    shape = source.image.shape
    sharded = version == "0.5" and math.prod(grid_shape(source.image, source.chunk)) > settings().shard_above

    def image(name: str, dtype: str, n_channels: int, block: Index, **more: Any) -> ImageSpec:
        dims = "".join(axis for axis in "tczyx" if axis in source.dims or (axis == "c" and n_channels))

        def along(numbers: Sequence[int]) -> tuple[int, ...]:
            return tuple({**dict(zip(AXES, numbers, strict=True)), "c": n_channels}[axis] for axis in dims)

        file = [-(-n // c) * c for n, c in zip(block, source.chunk, strict=True)]
        return ImageSpec(
            name,
            dims,
            along(shape),
            along(source.chunk),
            dtype,
            spacing=source.spacing,
            units=source.units,
            origin=source.origin,
            shards=along(file) if sharded else None,
            **more,
        )

    names = {name: tuple(source.channel_names[i] for i in kept) if source.channel_names else ()
             for name, kept in channels.images.items()}  # fmt: skip
    colors = (source.channel_colors[channels.chosen],) if source.channel_colors else ()
    kept = [
        image(PROBABILITIES, source.dtype, 1, blocks[0], channel_names=names[PROBABILITIES], channel_colors=colors,
              value_range=source.value_range),
        image(OBJECTS, ID_TYPES.get(suffix, "uint64"), 0, blocks[1], reduce="stride", role="labels"),
    ]  # fmt: skip
    if channels.further:
        kept.append(image(FURTHER, source.dtype, len(channels.further), blocks[0], role="scratch"))
    return tuple(kept)


def write_channels(store: Store, channels: Channels, box: Box, image: Box, values: Array) -> None:
    """Store a block.

    Parameters
    ----------
    store : Store
    channels : Channels
    box, image : Box
    values : ndarray, (t, c, z, y, x)
        Of `channels.stored`.
    """
    for name, part in ((PROBABILITIES, values[:, :1]), (FURTHER, values[:, 1:])):
        if part.shape[1]:
            start, part = place(store.image(name), part, box, image)
            store.write(name, start, np.ascontiguousarray(part))


def has_channels(store: Store, channels: Channels, box: Box, image: Box) -> bool:
    """Whether a block of all channels is stored."""
    return all(store.is_written(name, *corners(store.image(name), box, image)) for name in channels.images)


def read_image(store: Store, name: str, box: Box, image: Box) -> Array:
    """A box of an image, (t, c, z, y, x), c of length 1 where there are no channels."""
    spec = store.image(name)
    start, stop = corners(spec, box, image)
    part = np.asarray(store.array(name)[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))])
    return part[tuple(slice(None) if axis in spec.dims else np.newaxis for axis in "tczyx")]


@dataclass(frozen=True, eq=False)
class StoredChannels:
    """Channels of an output that is being made, as what objects are labelled from; picklable.

    Parameters
    ----------
    store : Store
    image : Box
    places : tuple of (name, number)
        Image of each channel, and its number in that image.
    """

    store: Store
    image: Box
    places: tuple[tuple[str, int], ...]

    def read(self, box: Box) -> Array:
        """Values of a box, (t, c, z, y, x)."""
        parts = [read_image(self.store, name, box, self.image)[:, [i]] for name, i in self.places]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


@dataclass(frozen=True, eq=False)
class ObjectWriter:
    """Puts the labels of a block in their place; picklable."""

    store: Store
    image: Box

    def __call__(self, box: Box, labels: npt.NDArray[np.uint64]) -> None:
        """Write labels (t, z, y, x).

        Raises
        ------
        StoreError
            If an id does not fit into what the output's format holds.
        """
        spec = self.store.image(OBJECTS)
        if labels.size and int(labels.max()) > np.iinfo(spec.dtype).max:
            text = (
                f"there are {labels.max()} objects or more, {self.store.output.name} holds {spec.dtype} numbers alone"
            )
            raise StoreError(f"{text}; write .zarr or .h5")
        start, part = place(spec, labels.astype(spec.dtype, copy=False), box, self.image)
        self.store.write(OBJECTS, start, np.ascontiguousarray(part))

    def is_written(self, box: Box) -> bool:
        """Whether the labels of a block are in place."""
        return self.store.is_written(OBJECTS, *corners(self.store.image(OBJECTS), box, self.image))
