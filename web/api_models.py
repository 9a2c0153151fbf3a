"""What the new API takes and gives, as its OpenAPI document describes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from web.roi import RANGE

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
Name = Annotated[str, StringConstraints(pattern=NAME)]
Range = Annotated[str, StringConstraints(pattern=f"^({RANGE})$")]
Format = Literal["npy", "raw", "png", "tiff", "hdf5"]
Colors = Literal["auto", "grey", "classes", "labels"]
# A number as text, so that NaN and infinity are no numbers.
WINDOW = r"^-?[0-9]{1,20}(\.[0-9]{1,20})?:-?[0-9]{1,20}(\.[0-9]{1,20})?$"


class Strict(BaseModel):
    """Nothing that is not described is taken."""

    model_config = ConfigDict(extra="forbid")


class VolumePath(Strict):
    """A volume by its name."""

    volume: str = Field(description="Name of the volume.")


class LayerPath(VolumePath):
    """A layer by its name."""

    layer: str = Field(description="raw, probabilities, segmentation, uncertainty or labels.")


class ProjectPath(Strict):
    """A project by its name."""

    project: str = Field(description="Name of the project.")


class ProjectQuery(Strict):
    """Which project's layers are meant."""

    project: Name | None = Field(None, description="Name of a project; the volume's first one by default.")


class RoiQuery(ProjectQuery):
    """A region of a layer, and the form of the answer."""

    t: Range | None = Field(None, description="Time steps: an index or a range, `start:stop`; all by default.")
    c: Range | None = Field(None, description="Channels or classes, from 0.")
    z: Range | None = Field(None, description="Planes.")
    y: Range | None = Field(None, description="Rows.")
    x: Range | None = Field(None, description="Columns.")
    level: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}$")] = Field("0", description="0 is the finest.")
    format: Format = Field("npy", description="npy, tiff, hdf5: files; raw: the values in C order, little-endian.")
    colors: Colors = Field(
        "auto", description="Of a PNG: brightness, the project's class colours, or a colour for each id."
    )
    window: Annotated[str, StringConstraints(pattern=WINDOW)] | None = Field(
        None, description="Of a grey PNG: the values shown black and white, `low:high`."
    )


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str | None = None
    given: str | None = None
    allowed: str | None = None
    errors: dict[str, str] | None = None
    request_id: str


class Channel(BaseModel):
    """A channel or class."""

    name: str
    color: tuple[int, int, int] | None


class LevelInfo(BaseModel):
    """One level of a layer; lists are in the order of the layer's dims."""

    level: int
    shape: list[int]
    chunk: list[int]
    factors: list[int]
    exact: bool


class LayerInfo(BaseModel):
    """A layer."""

    name: str
    volume: str
    project: str | None
    digest: str
    dims: str
    shape: list[int]
    dtype: str
    spacing: dict[str, float]
    units: dict[str, str]
    channels: list[Channel]
    value_range: tuple[float, float] | None
    levels: list[LevelInfo]
    urls: dict[str, str]


class VolumeInfo(BaseModel):
    """A volume; lists are in the order of its dims."""

    name: str
    dims: str
    shape: list[int]
    dtype: str
    spacing: dict[str, float]
    units: dict[str, str]
    projects: list[str]
    layers: list[str]


class VolumeList(BaseModel):
    """All volumes."""

    volumes: list[VolumeInfo]


class LayerList(BaseModel):
    """The layers of a volume."""

    layers: list[LayerInfo]


class ProjectInfo(BaseModel):
    """A project."""

    name: str
    workflow: str
    version: str
    axes: str
    digest: str
    classes: list[Channel]
    features: int
    trees: int
    volumes: list[str]


class ProjectList(BaseModel):
    """All projects."""

    projects: list[ProjectInfo]


class CacheInfo(BaseModel):
    """What the cache holds and has done since the server started."""

    model_config = ConfigDict(extra="allow")

    hit_rate: float
    numbers: dict[str, Any]


JobState = Literal["queued", "running", "pushing", "done", "failed", "cancelled", "needs token"]


class JobPath(Strict):
    """A job by its id."""

    job: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,255}$")] = Field(description="Id of the job.")


class JobListQuery(Strict):
    """Which jobs."""

    state: JobState | None = Field(None, description="Those in this state alone.")
    limit: Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]{0,2}|1000)$")] = Field(
        "100", description="So many at most, up to 1000."
    )
    before: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,11}(\.[0-9]{1,9})?$")] | None = Field(
        None, description="Made before this time, in seconds since 1970: to go on with a list."
    )


class StageInfo(BaseModel):
    """How far a stage of a job is."""

    name: str
    blocks: int
    blocks_done: int
    voxels: int
    voxels_done: int
    bytes: int
    bytes_done: int
    rate: float
    seconds_left: float | None
    finished: bool


class JobInfo(BaseModel):
    """A job; times are ISO 8601."""

    id: str
    key: str
    state: JobState
    reason: str | None
    cancel_asked: bool
    pipeline: str
    collection: str
    experiment: str
    ranges: dict[str, tuple[int, int]]
    channels: list[str]
    parameters: dict[str, Any]
    push: str | None
    created: str
    updated: str
    started: str | None
    ended: str | None
    runs: int
    stages: list[StageInfo]
    objects: int | None
    pushed: dict[str, str]
    files: list[str]
    told: list[str]
    urls: dict[str, str]


class JobList(BaseModel):
    """Jobs, the newest first."""

    jobs: list[JobInfo]


class EstimateInfo(BaseModel):
    """What a job costs: voxels of a channel, channels and bytes that are read, seconds, bytes of memory."""

    voxels: int
    channels: int
    bytes: int
    seconds: float
    memory: int


class MailInfo(BaseModel):
    """A mail about a job."""

    to: str
    outcome: Literal["done", "failed", "needs token"]
    state: Literal["waiting", "sent", "given up"]
    attempts: int
    sent: str | None
    reason: str | None


class MailList(BaseModel):
    """The mails about a job, oldest first."""

    mails: list[MailInfo]


class LinkPath(JobPath):
    """A link to a job."""

    name: str


class LinkInfo(BaseModel):
    """A signed link to a job."""

    name: str
    url: str
    state: Literal["open", "over", "withdrawn"]
    made: str
    expires: str
    to: str | None


class LinkList(BaseModel):
    """The signed links to a job, the newest first."""

    links: list[LinkInfo]


class ShareInfo(BaseModel):
    """Where a job is to be seen by those who have the link, and whether by everybody."""

    name: str | None
    url: str
    expires: str | None
    public: bool
