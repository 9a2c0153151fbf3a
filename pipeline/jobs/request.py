"""What a job is to do. Two people ask for the same job if its digest is the same: who they are does not count."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from pipeline.jobs.estimate import Estimate
from pipeline.jobs.fields import Range

SHORT_DIGEST = 12  # characters of the digest in a job's id


@dataclass(frozen=True)
class JobRequest:
    """What is to be computed.

    Parameters
    ----------
    pipeline : str
        Name of an analysis.
    archive : str
        URL of the archive.
    collection, experiment : str
    z, y, x : tuple of int
        Start and stop, voxels, in the frame of the experiment.
    channels : tuple of str
        Those that are read.
    parameters : mapping
        Of the analysis, all of them; JSON values.
    push : str, optional
        ``collection/experiment`` that results are pushed to.
    """

    pipeline: str
    archive: str
    collection: str
    experiment: str
    z: Range
    y: Range
    x: Range
    channels: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    push: str | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y and x."""
        return self.z[1] - self.z[0], self.y[1] - self.y[0], self.x[1] - self.x[0]

    @property
    def voxels(self) -> int:
        """Voxels of one channel."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def key(self) -> str:
        """What the original service named everything by; two requests may share it.

        Examples
        --------
        >>> JobRequest("nomads-unsupervised", "", "col", "exp", (0, 24), (0, 48), (0, 48)).key
        'nomads-unsupervised_col_exp_z_0_24_y_0_48_x_0_48'
        """
        ranges = (part for axis in "zyx" for part in (axis, *getattr(self, axis)))
        return "_".join(map(str, (self.pipeline, self.collection, self.experiment, *ranges)))

    @property
    def source(self) -> Source:
        """What is read."""
        said = [self.archive, self.collection, self.experiment, self.z, self.y, self.x, self.channels, self.push]
        return Source(json.dumps(said))

    def to_json(self) -> str:
        """As it is kept."""
        return json.dumps({name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def from_json(cls, text: str) -> JobRequest:
        """From what `to_json` made."""
        document = json.loads(text)
        ranges = {axis: tuple(document[axis]) for axis in "zyx"}
        return cls(**{**document, **ranges, "channels": tuple(document["channels"])})


@dataclass(frozen=True)
class Source:
    """What stands for the volumes in the digest of a job, so that none has to be opened for it."""

    digest: str


@dataclass(frozen=True)
class Submission:
    """A request with the person who makes it.

    Parameters
    ----------
    request : JobRequest
    digest : str
        Hexadecimal; equal for equal results.
    estimate : Estimate
    email : str, optional
        Who is told.
    token : SecretStr, optional
        For the archive; without one, the runner's own serves.
    """

    request: JobRequest
    digest: str
    estimate: Estimate
    email: str | None = None
    token: SecretStr | None = None

    @property
    def id(self) -> str:
        """Of the job."""
        return f"{self.request.key}-{self.digest[:SHORT_DIGEST]}"
