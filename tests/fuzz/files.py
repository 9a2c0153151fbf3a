"""Files: sound ones whose bytes are damaged, and documents in them in which one value is another one."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import strategies as st

from pipeline.analyses.model import build_model, load_model
from pipeline.array_archive import read_array
from pipeline.config import settings
from pipeline.formats.handles import close_handles
from pipeline.ilp_labels import read_labels
from pipeline.images import ImageSpec
from pipeline.metadata import image_attributes
from pipeline.pickled_model import decode_pickle, import_model
from pipeline.project import open_project
from pipeline.serving.configuration import read_configuration
from tests import pickles
from tests.fuzz.reader import Read, Reader, refusal_of
from tests.oracles import GOLDEN
from tests.pipeline.formats import test_damage as volumes
from tests.pipeline.formats.test_zarr_documents import JSON
from tests.pipeline.serving.test_configuration import GOOD

# Anywhere alike: numbers that are drawn are small more often than not, and so would damage beginnings alone.
ANYWHERE = st.integers(0, 2**32 - 1).map(lambda n: n * 2654435769 % 2**32 / 2**32)
KINDS = st.sampled_from(["flip", "number", "cut", "zero", "insert"])
CHANGES = st.lists(st.tuples(KINDS, ANYWHERE, st.integers(0, 2**32 - 1)), min_size=1, max_size=3)
DAMAGED = st.tuples(CHANGES | volumes.DAMAGES, st.booleans())
PLACED = st.tuples(ANYWHERE, JSON | st.integers(-(2**70), 2**70) | st.just([1] * 70))
Prepare = Callable[[Path], AbstractContextManager[Read]]
IMAGE_SHAPES = ((1, 37, 40, 38), (1, 1, 1, 1))


def damaged(write: Callable[[Path], Path], read: Callable[[Path], object]) -> Prepare:
    """Damages a file, or one of a folder's; `write` makes the sound one, `read` reads."""

    @contextlib.contextmanager
    def prepare(folder: Path) -> Iterator[Read]:
        (folder / "sound").mkdir()
        sound = write(folder / "sound")

        def read_damaged(one: tuple[Any, bool]) -> str | None:
            with _copied(sound, folder) as path:
                volumes.damage(path, *one)
                return refusal_of(lambda: read(path))

        yield read_damaged

    return prepare


def bent(write: Callable[[Path], Path], name: str) -> Prepare:
    """Puts another value somewhere into a JSON document of a volume."""

    @contextlib.contextmanager
    def prepare(folder: Path) -> Iterator[Read]:
        (folder / "sound").mkdir()
        sound = write(folder / "sound")

        def read_bent(one: tuple[float, Any]) -> str | None:
            with _copied(sound, folder) as path:
                document = json.loads((path / name).read_text())
                places = list(_places(document))
                holder, key = places[int(one[0] * len(places))]
                holder[key] = one[1]
                (path / name).write_text(json.dumps(document))
                return refusal_of(lambda: volumes.read_part(path))

        with _small_limits():
            yield read_bent

    return prepare


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Where values stand: the dictionary or list, and the key or index."""
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in keys:
        yield document, key
        yield from _places(document[key])


@contextlib.contextmanager
def _copied(sound: Path, folder: Path) -> Iterator[Path]:
    """A copy of a file with all that lies beside it, or of a folder; gone afterwards."""
    copy = folder / "copy"
    if sound.is_dir():
        shutil.copytree(sound, copy / sound.name)
    else:
        shutil.copytree(sound.parent, copy)
    try:
        yield copy / sound.name
    finally:
        close_handles()
        shutil.rmtree(copy)


@contextlib.contextmanager
def _small_limits() -> Iterator[None]:
    """Limits of volumes so small that what goes beyond them is seen."""
    with pytest.MonkeyPatch.context() as patch:
        volumes.set_limits(patch)
        yield
    settings.cache_clear()


def damaged_volume(write: Callable[[Path], Path]) -> Prepare:
    """Damages a volume's files; `write` makes a sound one."""

    @contextlib.contextmanager
    def prepare(folder: Path) -> Iterator[Read]:
        with _small_limits(), damaged(write, volumes.read_part)(folder) as read:
            yield read

    return prepare


def golden(name: str) -> Callable[[Path], Path]:
    """Writes a project that was made for us."""

    def write(folder: Path) -> Path:
        return Path(shutil.copy(GOLDEN / "projects" / name, folder))

    return write


def _ome_zarr(folder: Path) -> Path:
    """With levels, axes, scales and units."""
    shape = volumes.ARRAY.shape
    spec = ImageSpec("v", "zyx", shape, shape, "uint16", spacing={"z": 2.0}, units={"z": "micrometer"})
    group = zarr.open_group(folder / "v.zarr", mode="w")
    group.attrs.update({**image_attributes(spec, "0.5", {})})
    group.create_array("0", data=volumes.ARRAY, chunks=(2, 16, 16))
    return folder / "v.zarr"


def _model(folder: Path) -> Path:
    trees = dict(decode_pickle(pickle.dumps(pickles.grow_forest(trees=3)), 1 << 24))
    model = build_model(pickles.components(), trees, channels=pickles.CHANNELS, half_widths=pickles.HALF_WIDTHS)
    model.write(folder / "m.npz")
    return folder / "m.npz"


def _pickle(folder: Path) -> Path:
    (folder / "m.pkl").write_bytes(pickle.dumps(pickles.grow_forest(trees=3)))
    return folder / "m.pkl"


def _import(path: Path) -> None:
    np.save(path.with_name("components.npy"), pickles.components())
    import_model(path, path.with_name("components.npy"), channels=pickles.CHANNELS, half_widths=pickles.HALF_WIDTHS)


def _array(folder: Path) -> Path:
    np.save(folder / "a.npy", pickles.components())
    return folder / "a.npy"


def _configuration(folder: Path) -> Path:
    (folder / "served.toml").write_text(GOOD, encoding="utf-8")
    (folder / "runs").mkdir()
    return folder / "served.toml"


@contextlib.contextmanager
def _hostile_pickles(folder: Path) -> Iterator[Read]:
    """Those that would do harm, one after another or cut and joined; the harm would be a file."""
    witness = folder / "witness"
    known = sorted(pickles.hostile(witness).items())

    def read(one: tuple[float, float, float]) -> str | None:
        first, second = (known[int(place * len(known))][1] for place in one[:2])
        contents = first[: int((1 - one[2]) * len(first)) + 1] + second
        said = refusal_of(lambda: decode_pickle(contents, 1 << 24))
        assert not witness.exists(), "something in the pickle was executed"
        return said

    yield read


def _labels(path: Path) -> None:
    for shape in IMAGE_SHAPES:
        read_labels(path, shape)


_PARTS = st.tuples(ANYWHERE, ANYWHERE, ANYWHERE)
_BYTES: dict[str, tuple[Prepare, int]] = {
    "project (.ilp)": (damaged(golden("pc_3d.ilp"), open_project), 3),
    "project of two stages": (damaged(golden("ac_2d.ilp"), open_project), 1),
    "project with thresholds": (damaged(golden("pc_double_threshold.ilp"), open_project), 1),
    "annotations (.ilp)": (damaged(golden("pc_small.ilp"), _labels), 1),
    "model (.npz)": (damaged(_model, load_model), 1),
    "pickled model": (damaged(_pickle, _import), 1),
    "components (.npy)": (damaged(_array, lambda path: read_array(path, 1 << 20)), 1),
    "configuration (.toml)": (damaged(_configuration, read_configuration), 1),
}
_DOCUMENTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "zarr2 document": (volumes.WRITERS["zarr2"], ".zarray"),
    "zarr3 document": (volumes.WRITERS["zarr3"], "zarr.json"),
    "document of shards": (volumes.WRITERS["nested"], "zarr.json"),
    "OME-Zarr document": (_ome_zarr, "zarr.json"),
    "n5 document": (volumes.WRITERS["n5"], "attributes.json"),
    "precomputed document": (volumes.WRITERS["precomputed"], "info"),
}

READERS = (
    *(
        Reader(f"volume, {name}", DAMAGED, damaged_volume(write), 1, volumes.most_memory)
        for name, write in volumes.WRITERS.items()
    ),
    *(
        Reader(name, PLACED, bent(write, document), 1, volumes.most_memory)
        for name, (write, document) in _DOCUMENTS.items()
    ),
    *(Reader(name, DAMAGED, prepare, share) for name, (prepare, share) in _BYTES.items()),
    Reader("hostile pickles", _PARTS, _hostile_pickles),
)
