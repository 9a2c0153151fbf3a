"""The routes of ilastik-backend, for its clients: data provider, pixel classification worker, thresholding, gateway.

All of them on one port, over the first volume and its first project. What was four services asks nobody else any more,
so `/setup` has nothing left to do. Parameters are checked: what the old services answered with an error page (500) is
a 400 that says what is allowed.
"""

from __future__ import annotations

import re
from typing import Any

import numpy.typing as npt
from flask import Blueprint, Response, current_app, request
from flask.blueprints import BlueprintSetupState

from pipeline.axes import reorder
from pipeline.blocks import Box
from pipeline.config import settings
from pipeline.errors import ConflictError, RegionError
from pipeline.serving.engine import Engine
from pipeline.serving.label_image import LabelSettings, label_image
from pipeline.serving.layer import Layer
from pipeline.serving.settings_store import SettingsStore
from web import encodings, pictures
from web.boxes import ORDER, OldBox, join_shape, parse_box
from web.connection import watch
from web.errors import HttpError
from web.old_blocks import BlockGrid

HALF_A_DAY = "max-age=43200"
FORMATS = {
    "raw": "application/octet-stream",
    "tiff": "image/tiff",
    "png": "image/png",
    "hdf5": "application/octet-stream",
}
_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)

blueprint = Blueprint("old", __name__)


@blueprint.record_once
def _set_up(state: BlueprintSetupState) -> None:
    state.app.extensions["label_settings"] = SettingsStore(settings().data_dir)


@blueprint.errorhandler(RegionError)
def _answer_region(error: RegionError) -> Response:
    """The old routes know one status for all that is wrong with a request."""
    from web.errors import answer

    return answer(HttpError(error.message, 400, code=error.code))


@blueprint.get("/raw/<fmt>/roi")
def get_raw(fmt: str) -> Response:
    """Raw data of a box, as raw, tiff, png or hdf5: ?extents_min=t_x_y_z_c&extents_max=t_x_y_z_c.

    Minimum inclusive, maximum exclusive; a negative maximum counts from the end. Also x_y_z (t = 0, all channels) and
    x_y (z = 0, too). raw: the values in C order of (t, x, y, z, c), little-endian, in the type that /raw/info/dtype
    tells. png, tiff: one plane, smallest value to 0, largest to 255; 2, 3 or 4 channels become LA, RGB, RGBA. hdf5: a
    file with the dataset exported_data.
    """
    _check_format(fmt)
    box = parse_box(request.args, raw_shape())
    return encode(_read_raw(box), fmt, HALF_A_DAY)


@blueprint.get("/prediction/<fmt>/roi")
def get_prediction(fmt: str) -> Response:
    """Probabilities of all classes of a box, float32; parameters and formats as for /raw."""
    _check_format(fmt)
    layer = probabilities()
    return encode(read_box(layer, parse_box(request.args, _shape(layer), all_channels=True)), fmt, HALF_A_DAY)


@blueprint.get("/labelimage/<fmt>/roi")
def get_label_image(fmt: str) -> Response:
    """Objects of a box of one time frame, numbered over the whole frame, uint32; parameters and formats as for /raw."""
    _check_format(fmt)
    layer = probabilities()
    box = parse_box(request.args, {**_shape(layer), "c": 1})
    t = box.start[0]
    if box.stop[0] != t + 1:
        given = f"t from {t} to {box.stop[0]}"
        raise HttpError("objects belong to one time frame", 400, code="box", given=given, allowed="one t")
    return encode(read_box(label_image(layer, label_settings()), box), fmt, "no-cache")


@blueprint.get("/labelvolume/<fmt>/<frame>")
def get_label_volume(fmt: str, frame: str) -> Response:
    """Objects of a whole time frame, (1, x, y, z, 1), uint32."""
    _check_format(fmt)
    layer = probabilities()
    shape = _shape(layer)
    t = _parse_number(frame, "frame", shape["t"])
    whole = OldBox((t, 0, 0, 0, 0), (t + 1, shape["x"], shape["y"], shape["z"], 1))
    return encode(read_box(label_image(layer, label_settings()), whole), fmt, "no-cache")


@blueprint.get("/prediction/<fmt>/<block>")
def get_block(fmt: str, block: str) -> Response:
    """Probabilities of a block by its number, (1, x, y, z, classes); see /prediction/blockshape."""
    _check_format(fmt)
    layer = probabilities()
    grid = _grid(layer)
    return encode(read_box(layer, grid.box(_parse_number(block, "block", len(grid)))), fmt, HALF_A_DAY)


@blueprint.get("/prediction/blockshape")
def get_block_shape() -> Response:
    """Shape of a block, t_x_y_z_c; blocks are numbered with t slowest, then x, y, z, and cut at the border."""
    return text("_".join(map(str, _grid(probabilities()).block)))


@blueprint.get("/prediction/cachedblockids")
def get_cached_blocks() -> Response:
    """Numbers of the blocks that would be answered without computing anything, sorted as text, joined by commas."""
    layer = probabilities()
    grid = _grid(layer)
    cached = engine().cached_boxes(layer, 0)
    return text(",".join(sorted(str(number) for number in grid.covered_by(cached))))


@blueprint.get("/prediction/numclasses")
@blueprint.get("/prediction/info/numclasses")
def get_number_of_classes() -> Response:
    """Number of classes."""
    return text(str(probabilities().n_channels))


@blueprint.get("/info/dtype")
@blueprint.get("/raw/info/dtype")
def get_dtype() -> Response:
    """Type of the raw data, as NumPy calls it."""
    return text(str(engine().catalogue.first.volume.dtype))


@blueprint.get("/info/shape")
@blueprint.get("/raw/info/shape")
def get_shape() -> Response:
    """Shape of the raw data, t_x_y_z_c."""
    return text(join_shape(raw_shape()))


@blueprint.get("/info/dim")
@blueprint.get("/raw/info/dim")
def get_dim() -> Response:
    """2 for a single plane, else 3; frames and channels do not count."""
    return text("2" if raw_shape()["z"] == 1 else "3")


@blueprint.get("/setup")
def set_up() -> Response:
    """Nothing is left to be set up; answers as it always did."""
    return text("Done!")


def engine() -> Engine:
    """The engine of the app."""
    return current_app.extensions["engine"]


def probabilities() -> Layer:
    """The layer that all routes but /raw speak of.

    Raises
    ------
    ConflictError
        If no project is served.
    """
    first = engine().catalogue.first
    if not first.projects:
        raise ConflictError("no project is served: start the server with one, as in voxelforest serve PROJECT RAW")
    return engine().catalogue.layer(first.name, "probabilities")


def raw_shape() -> dict[str, int]:
    """Lengths of the first volume along t, x, y, z and c."""
    volume = engine().catalogue.first.volume
    return {**dict.fromkeys(ORDER, 1), **dict(zip(volume.dims, volume.shape, strict=True))}


def text(value: str) -> Response:
    """A word, as the old services answered with one."""
    return Response(value, content_type="text/html; charset=utf-8")


def read_box(layer: Layer, box: OldBox) -> npt.NDArray[Any]:
    """Values of a box, (t, x, y, z, c)."""
    start, stop = box.along(layer.dims)
    return reorder(engine().read(layer, 0, start, stop, abandoned=watch()), layer.dims, ORDER)


def encode(array: npt.NDArray[Any], fmt: str, caching: str) -> Response:
    """An array (t, x, y, z, c) as the body of an answer."""
    if fmt == "raw":
        body = encodings.to_raw(array)
    elif fmt == "hdf5":
        body = encodings.to_hdf5(array)
    else:
        plane = pictures.take_plane(array, ORDER, "xyz")
        pixels = pictures.stretch(plane).swapaxes(0, 1)  # the first axis is the width
        body = encodings.to_png(pixels) if fmt == "png" else encodings.to_tiff_picture(pixels)
    response = Response(body, content_type=FORMATS[fmt])
    # A shared cache may keep an answer that anybody may have.
    scope = "private" if current_app.extensions["options"].token else "public"
    response.headers["Cache-Control"] = caching if caching == "no-cache" else f"{scope}, {caching}"
    return response


def _read_raw(box: OldBox) -> npt.NDArray[Any]:
    layer = engine().catalogue.layer(engine().catalogue.first.name, "raw")
    volume = layer.volume.volume
    if layer.dtype == volume.dtype:
        return read_box(layer, box)
    # The layer shows another type, one that viewers know; these routes tell the file's.
    (t0, x0, y0, z0, c0), (t1, x1, y1, z1, c1) = box.start, box.stop
    return reorder(volume.read(Box((t0, z0, y0, x0), (t1, z1, y1, x1)))[:, c0:c1], "tczyx", ORDER)


def label_settings() -> LabelSettings:
    """What the thresholding service was told for the first project."""
    store: SettingsStore = current_app.extensions["label_settings"]
    return store.read(project_digest())


def change_label_settings(**changes: Any) -> None:
    """Tell it something else."""
    store: SettingsStore = current_app.extensions["label_settings"]
    store.change(project_digest(), **changes)


def project_digest() -> str:
    """Digest of the first project."""
    project = probabilities().project
    assert project is not None
    return project.digest


def _shape(layer: Layer) -> dict[str, int]:
    return {**dict.fromkeys(ORDER, 1), **dict(zip(layer.dims, layer.levels[0].shape, strict=True))}


def _grid(layer: Layer) -> BlockGrid:
    return BlockGrid(_shape(layer), settings().old_block_edge)


def _check_format(fmt: str) -> None:
    if fmt not in FORMATS:
        known = ", ".join(FORMATS)
        raise HttpError(f"there is no format {fmt[:100]!r}", 400, code="format", given=fmt[:100], allowed=known)


def _parse_number(given: str, what: str, count: int) -> int:
    if not _NUMBER.fullmatch(given) or int(given) >= count:
        allowed = f"an integer from 0 to {count - 1}"
        raise HttpError(
            f"there is no {what} {given[:100]!r}; allowed is {allowed}",
            400,
            code=what,
            given=given[:100],
            allowed=allowed,
        )
    return int(given)
