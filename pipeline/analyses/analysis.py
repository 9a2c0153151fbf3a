"""What an analysis is to those who offer it: a name, parameters, channels, costs, and one call."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.analyses.parameter import Parameter
from pipeline.clusters.terms import Terms
from pipeline.errors import ParameterError
from pipeline.suggestion import did_you_mean

if TYPE_CHECKING:
    from pipeline.analyses.channels import ChannelSet
    from pipeline.analyses.result import AnalysisResult
    from pipeline.clusters.workers import Workers
    from pipeline.output import Mode
    from pipeline.progress import Progress

__all__ = ["Analysis", "AnalysisRequest", "Parameter"]

BASE_BYTES = 320 << 20  # of one process: interpreter, libraries, compiled kernels
READ_SIZE = 1 << 20

Values = Mapping[str, Any]


class HasDigest(Protocol):
    """Anything that names voxels."""

    @property
    def digest(self) -> str: ...


@dataclass(frozen=True, eq=False)
class AnalysisRequest:
    """One analysis of one volume, checked.

    Parameters
    ----------
    name : str
        Of the analysis.
    channels : ChannelSet
    folder : Path
        Of the results.
    parameters : mapping
        All of them, typed.
    mode : {"new", "resume", "overwrite"}
        As in `pipeline.output.admit`.
    scheduler, workers, terms
        As in `pipeline.cluster.connect`.
    progress : Progress
    cancelled : callable, optional
        As in `pipeline.window.run_windowed`.
    digest : str
        Hexadecimal SHA-256 over all that decides the results.
    """

    name: str
    channels: ChannelSet
    folder: Path
    parameters: Values
    mode: Mode
    scheduler: str
    workers: int | Workers | None
    terms: Terms
    progress: Progress
    cancelled: Callable[[], bool] | None
    digest: str


@dataclass(frozen=True)
class Analysis:
    """An analysis that is offered by name.

    Parameters
    ----------
    name : str
        As in the entry point: what the command is called.
    title : str
        For a list of choices.
    summary : str
        One sentence.
    help : str
        A paragraph.
    parameters : tuple of Parameter
    channels_rule : callable
        ``channels_rule(names, parameters)`` gives the channels that are needed, in the order in which they are used;
        raises `ChannelError`.
    reading_rule : callable
        The same of all channels that are read, in the order of the list.
    run : callable
        ``run(request)`` does the work; imports what it needs when it is called.
    version : int
        Raised whenever any result changes: part of the digest.
    seconds_per_voxel : float
        Of one core, for each channel that is read; generous.
    """

    name: str
    title: str
    summary: str
    help: str
    parameters: tuple[Parameter, ...]
    channels_rule: Callable[[Sequence[str], Values], tuple[str, ...]] = field(repr=False)
    reading_rule: Callable[[Sequence[str], Values], tuple[str, ...]] = field(repr=False)
    run: Callable[[AnalysisRequest], AnalysisResult] = field(repr=False)
    version: int = 1
    seconds_per_voxel: float = 100e-9

    def choose_channels(self, names: Sequence[str], parameters: Values | None = None) -> tuple[str, ...]:
        """The channels that the analysis is about, of those that there are, in the order in which it uses them.

        Raises
        ------
        ChannelError
            If one is missing, naming it and what there is.
        """
        return self.channels_rule(tuple(names), self._with_defaults(parameters))

    def read_channels(self, names: Sequence[str], parameters: Values | None = None) -> tuple[str, ...]:
        """All channels that are read, in the order of `names`: what is to be fetched, and what a size counts.

        Raises
        ------
        ChannelError
            As `choose_channels`.
        """
        return self.reading_rule(tuple(names), self._with_defaults(parameters))

    def memory_bytes(self, shape_zyx: Sequence[int], dtype: str, threads: int) -> int:
        """Memory of one process with so many threads at most; it does not grow with the volume beyond a block."""
        import numpy

        from pipeline.config import settings

        limits = settings()
        block = min(math.prod(shape_zyx), limits.block_voxels)
        task = min(int(limits.task_memory), block * (40 + 4 * numpy.dtype(dtype).itemsize))
        return BASE_BYTES + int(limits.chunk_cache) + threads * task

    def seconds(self, shape_zyx: Sequence[int], channels: int = 2) -> float:
        """About how long one core takes for so many channels; generous, and half a minute for what is fixed."""
        return 30.0 + math.prod(shape_zyx) * max(channels, 1) * self.seconds_per_voxel

    def check_parameters(self, given: Mapping[str, object]) -> dict[str, Any]:
        """All parameters, typed, with defaults for what is not given.

        Raises
        ------
        ParameterError
            With a reason for each parameter that is unknown or has a value that is not allowed.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        reasons = {}
        for name in given:
            if name not in known:
                there = ", ".join(known) or "none"
                reasons[name] = f"{self.name} has no such parameter; it has {there}{did_you_mean(name, known)}"
        values = {}
        for name, parameter in known.items():
            try:
                values[name] = parameter.convert(given.get(name))
            except ValueError as error:
                reasons[name] = str(error)
        if reasons:
            raise ParameterError(reasons)
        return values

    def digest(self, channels: HasDigest, parameters: Values) -> str:
        """Hexadecimal SHA-256 over all that decides results: the rules, the voxels, the parameters, files by content.

        Raises
        ------
        ParameterError
            If a file that a parameter names cannot be read.
        """
        values = {p.name: _identity(p, parameters[p.name]) for p in self.parameters}
        said = ["analysis", self.name, self.version, channels.digest, values]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def __call__(
        self,
        channels: Any,
        out: str | os.PathLike[str] | None = None,
        *,
        scheduler: str = "threads",
        workers: int | Workers | None = None,
        terms: Terms | None = None,
        mode: Mode = "new",
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
        **parameters: object,
    ) -> AnalysisResult:
        """Analyse a volume.

        Parameters
        ----------
        channels : ChannelSet, Volume, xarray.DataArray, mapping of str to any of these, or path
            See `pipeline.analyses.channels.ChannelSet.of`.
        out : path, optional
            Folder of the results. Without it one below the data folder that is named after the digest, so that the
            same analysis of the same volume is not done twice.
        scheduler, workers, terms
            As in `pipeline.cluster.connect`.
        mode : {"new", "resume", "overwrite"}
            What to do with results that are there: refuse, go on with them or take them if they are finished, replace.
        progress : Progress, optional
        cancelled : callable, optional
            Asked several times a second; true ends the run, and what is finished stays.
        **parameters
            Those of the table `parameters`.

        Raises
        ------
        ChannelError, ParameterError, PlanError, StoreError, ClusterError
            Before any work is done; nothing is left behind then.
        ReadError, WriteError
            If data turns out damaged or the disk fills; what is finished stays for ``mode="resume"``.
        CancelledError
            Likewise.
        """
        from pipeline.analyses.channels import ChannelSet
        from pipeline.analyses.result import make_default_folder
        from pipeline.progress import Progress

        values = self.check_parameters(parameters)
        given = ChannelSet.of(channels)
        self.choose_channels(tuple(given), values)
        wanted = given.pick(self.read_channels(tuple(given), values))
        digest = self.digest(wanted, values)
        if out is None:
            folder, mode = make_default_folder(self.name, digest), "resume" if mode == "new" else mode
        else:
            folder = Path(out).absolute()
        told = progress or Progress()
        terms = replace(terms or Terms(), tell=told.note)
        return self.run(
            AnalysisRequest(self.name, wanted, folder, values, mode, scheduler, workers, terms, told, cancelled, digest)
        )

    def _with_defaults(self, parameters: Values | None) -> Values:
        return {**{p.name: p.default for p in self.parameters}, **(parameters or {})}


def _identity(parameter: Parameter, value: Any) -> Any:
    """A parameter's value as it counts for the digest."""
    if parameter.kind is not Path or value is None:
        return value
    digest = hashlib.sha256()
    try:
        with Path(value).open("rb") as file:
            while part := file.read(READ_SIZE):
                digest.update(part)
    except OSError as error:
        raise ParameterError({parameter.name: f"{value} cannot be read: {error.strerror or error}"}) from None
    return digest.hexdigest()
