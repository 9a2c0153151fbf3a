"""Thresholding settings stored in an ilastik project (SEMANTICS 7 and 8)."""

from __future__ import annotations

from pipeline.errors import PlanError, ProjectError
from pipeline.ilp_file import IlpFile
from pipeline.thresholding import Thresholding

WHERE = "ThresholdTwoLevels"
METHODS = ("simple", "hysteresis", "graph cut", "object splitting by graph cut (IPHT)")
LARGEST = 2**62


def read_thresholding(file: IlpFile) -> Thresholding | ProjectError | None:
    """The settings of the applet, None where the project has none.

    Returns
    -------
    Thresholding, ProjectError or None
        What is stored but cannot be used is no reason to refuse the project: predictions do not need it. The error
        says what it is, for those who ask for it.
    """
    if not file.has_group(WHERE):
        return None
    try:
        return _read(file)
    except (ProjectError, PlanError) as error:
        if isinstance(error, ProjectError) and error.code != "bad_threshold":
            raise  # a damaged or unsafe file
        return ProjectError(f"{file.path} stores thresholds that cannot be used: {error.message}", "bad_threshold")


def _read(file: IlpFile) -> Thresholding:
    default = Thresholding()
    method = _whole(file, "CurOperator", 0)
    if method not in (0, 1):
        name = METHODS[method] if 0 <= method < len(METHODS) else f"number {method}"
        raise ProjectError(f"the method is {name}; only simple and hysteresis can be used", "bad_threshold")
    channel, core = _whole(file, "Channel", 0), _whole(file, "CoreChannel", 0)
    if method == 1 and file.has(f"{WHERE}/Channel") and not file.has(f"{WHERE}/CoreChannel"):
        core = channel
    low = _number(file, "LowThreshold", default.low)
    if method == 0:
        low = _number(file, "SingleThreshold", low)
    z, y, x = (_number(file, f"SmootherSigma/{axis}", 1.0) for axis in "zyx")
    return Thresholding(
        method="hysteresis" if method else "simple",
        channel=channel,
        core_channel=core,
        low=low,
        high=_number(file, "HighThreshold", default.high),
        sigma_zyx=(z, y, x),
        min_size=_whole(file, "MinSize", default.min_size),
        max_size=_whole(file, "MaxSize", default.max_size),
    )


def _number(file: IlpFile, name: str, default: float) -> float:
    path = f"{WHERE}/{name}"
    if not file.has(path):
        return float(default)
    stored = file.array(path)
    if stored is None or stored.size != 1 or stored.dtype.kind not in "fiu":
        raise ProjectError(f"{path!r} is not one number", "bad_threshold")
    return float(stored.ravel()[0])


def _whole(file: IlpFile, name: str, default: int) -> int:
    value = _number(file, name, default)
    if not value.is_integer() or abs(value) > LARGEST:
        raise ProjectError(f"{name} is {value}, not a whole number of reasonable size", "bad_threshold")
    return int(value)
