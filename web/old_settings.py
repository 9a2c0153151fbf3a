"""The settings of ilastik-backend's thresholding service: threshold, channel and smoothing of ``/labelimage``.

They are kept over a restart, and hold from the next request on.
"""

from __future__ import annotations

import math
from typing import Any

from flask import Blueprint, Response, request

from web.errors import HttpError
from web.old_routes import change_label_settings, label_settings, probabilities, raw_shape, text

MOST_SIGMA = 100.0  # voxels; the whole frame is smoothed with a kernel of six times as many

blueprint = Blueprint("old_settings", __name__)


@blueprint.get("/threshold/get")
def get_threshold() -> Response:
    """The probability above which a voxel belongs to an object."""
    return text(str(label_settings().threshold))


@blueprint.post("/threshold/set")
def set_threshold() -> Response:
    """Set it: a JSON document as {"value": 0.5}."""
    value = _number(_value(), "a number")
    change_label_settings(threshold=value)
    return text("Threshold set successfully")


@blueprint.get("/channel/get")
def get_channel() -> Response:
    """The class whose probability is thresholded, from 0."""
    return text(str(label_settings().channel))


@blueprint.post("/channel/set")
def set_channel() -> Response:
    """Set it: a JSON document as {"value": 0}."""
    value, count = _value(), probabilities().n_channels
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < count:
        raise _refuse(value, f"an integer from 0 to {count - 1}")
    change_label_settings(channel=value)
    return text("Channel specified successfully")


@blueprint.get("/presmoothingsigmas/get")
def get_sigmas() -> Response:
    """Sigma of the smoothing along x, y and, in 3-D, z, in voxels, joined by _."""
    sigmas = label_settings().sigmas
    return text("_".join(map(str, (1.0,) * _dimensions() if sigmas is None else sigmas)))


@blueprint.post("/presmoothingsigmas/set")
def set_sigmas() -> Response:
    """Set them: a JSON document as {"value": [1.0, 1.0]}; null sets each to 1 again."""
    value, count = _value(), _dimensions()
    allowed = f"a list of {count} numbers from 0 to {MOST_SIGMA:g}, or null"
    if value is not None and (not isinstance(value, list) or len(value) != count):
        raise _refuse(value, allowed)
    sigmas = None if value is None else tuple(_number(sigma, allowed) for sigma in value)
    if sigmas is not None and not all(0 <= sigma <= MOST_SIGMA for sigma in sigmas):
        raise _refuse(value, allowed)
    change_label_settings(sigmas=sigmas)
    return text("Presmoothing sigmas set successfully")


def _dimensions() -> int:
    return 2 if raw_shape()["z"] == 1 else 3


def _value() -> Any:
    """What the body gives as ``value``; its content type does not matter."""
    try:
        document = request.get_json(force=True, silent=True)
    except RecursionError:  # brackets in brackets
        document = None
    if not isinstance(document, dict) or "value" not in document:
        raise HttpError(
            'the body is to be a JSON document with the key "value"', 400, code="value", allowed='{"value": ...}'
        )
    return document["value"]


def _number(value: Any, allowed: str) -> float:
    """A JSON number that is one: Python's parser takes NaN and numbers beyond any float, too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refuse(value, allowed)
    try:
        number = float(value)
    except OverflowError:
        raise _refuse("an integer of too many digits", allowed) from None
    if not math.isfinite(number):
        raise _refuse(value, allowed)
    return number


def _refuse(value: Any, allowed: str) -> HttpError:
    given = repr(value)[:100]
    return HttpError(
        f"the value {given} is not allowed; allowed is {allowed}", 400, code="value", given=given, allowed=allowed
    )
