"""Requests to one archive with one token, through intern: described, bounded, tried again, and errors in our words.

What intern 1.4 would do by itself, and what is done about it:

- it starts processes for large cutouts, even when told not to: a cutout here is one block, and intern's own chunk;
- it sends nothing where an array is all zero: such blocks are sent as black;
- it has neither time-outs nor retries: `pipeline.boss.transport` and `pipeline.formats.retry`;
- it pastes host and token into INI text: both are checked to be nothing else first;
- requests would replace the token by what ``~/.netrc`` holds for the host: its sessions do not look there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from intern.remote.boss import BossRemote
from intern.resource.boss.resource import ChannelResource, CoordinateFrameResource, ExperimentResource

from pipeline.boss.address import check_name, parse_url
from pipeline.boss.experiment import (
    DTYPES,
    KINDS,
    BossChannel,
    Experiment,
    Index,
    spacing_of,
    unit_of,
    whole_numbers,
)
from pipeline.boss.tokens import VAULT
from pipeline.boss.transport import PassingError, ask, guard, outcome
from pipeline.errors import ArchiveError, UnknownVolumeError
from pipeline.formats.handles import HANDLES

T = TypeVar("T")
MOST_CHANNELS = 10_000


def session(url: str, credential: str) -> Session:
    """The session of this process for an archive and the name of a token; a new one when the token changes.

    Raises
    ------
    TokenError
        If there is no such token.
    ArchiveError
        If the URL is none.
    """
    token = VAULT.token(credential)
    found: Session = HANDLES.get(("boss", url, credential), lambda: Session(url, token))
    if not found.knows(token):
        HANDLES.forget(lambda key: key == ("boss", url, credential))
        found = HANDLES.get(("boss", url, credential), lambda: Session(url, token))
    return found


class Session:
    """An archive and a token; used by several threads at once.

    Parameters
    ----------
    url : str
        ``https://name`` or ``http://name:port``.
    token : str
    """

    def __init__(self, url: str, token: str) -> None:
        protocol, host = parse_url(url)
        self.url = f"{protocol}://{host}"
        self._token = token
        self._remote = BossRemote({"protocol": protocol, "host": host, "token": token})
        for service in (self._remote._project, self._remote._volume):
            guard(service, self.url)

    def __repr__(self) -> str:
        return f"<Session {self.url}>"

    def knows(self, token: str) -> bool:
        """Whether this is the token that it was made for."""
        return token == self._token

    def experiment(self, collection: str, name: str) -> Experiment:
        """What the archive says about an experiment and its channels.

        Raises
        ------
        ArchiveError
        """
        place = f"{collection}/{name}"
        found = self.ask(place, lambda: self._remote.get_project(ExperimentResource(name, collection)))
        frame_name = check_name("a coordinate frame", str(found.coord_frame))
        frame = self.ask(place, lambda: self._remote.get_project(CoordinateFrameResource(frame_name))).raw
        names = self.ask(place, lambda: self._remote.list_channels(collection, name))
        if not isinstance(names, list) or len(names) > MOST_CHANNELS:
            raise ArchiveError(f"{place}: the archive's list of channels is none", code="answer")
        start, stop = whole_numbers(frame, "start", place), whole_numbers(frame, "stop", place)
        if not all(a < b for a, b in zip(start, stop, strict=True)):
            raise ArchiveError(f"{place}: its coordinate frame {start} to {stop} holds no voxels", code="answer")
        channels = tuple(self.channel(collection, name, check_name("a channel", str(text))) for text in names)
        return Experiment(self.url, collection, name, channels, start, stop, spacing_of(frame), unit_of(frame))

    def channel(self, collection: str, experiment: str, name: str) -> BossChannel:
        """What the archive says about a channel.

        Raises
        ------
        UnknownVolumeError
            If there is none.
        ArchiveError
            If it cannot be read as it is.
        """
        place = f"{collection}/{experiment}/{name}"
        raw = self.ask(place, lambda: self._remote.get_project(ChannelResource(name, collection, experiment))).raw
        dtype, kind = str(raw.get("datatype")).lower(), str(raw.get("type", "image")).lower()
        base = raw.get("base_resolution", 0)
        if dtype not in DTYPES or kind not in KINDS or base != 0:
            raise ArchiveError(
                f"{place}: is an {kind[:40]} of {dtype[:40]} at base resolution {base!s:.40}; only images and "
                f"annotations of {', '.join(DTYPES)} at 0 are read",
                code="answer",
            )
        return BossChannel(name, np.dtype(dtype), kind)

    def read(
        self, collection: str, experiment: str, channel: BossChannel, start: Index, stop: Index
    ) -> npt.NDArray[Any]:
        """The voxels of a box of at most ``boss_block_bytes``, (z, y, x), absolute coordinates; read-only.

        Raises
        ------
        ArchiveError
        """
        (z0, y0, x0), (z1, y1, x1) = start, stop
        shape = (z1 - z0, y1 - y0, x1 - x0)
        resource = _resource(collection, experiment, channel)

        def cut() -> npt.NDArray[Any]:
            found = self._remote.get_cutout(
                resource, 0, [x0, x1], [y0, y1], [z0, z1], parallel=False, chunk_size=shape[::-1]
            )
            if found.shape != shape or found.dtype != channel.dtype:
                raise PassingError(f"it sent {found.dtype} of shape {found.shape}")
            return np.asarray(found)

        return self.ask(f"{collection}/{experiment}/{channel.name} z {z0}:{z1} y {y0}:{y1} x {x0}:{x1}", cut)

    def write(
        self, collection: str, experiment: str, channel: BossChannel, start: Index, data: npt.NDArray[Any]
    ) -> None:
        """Write a block of at most ``boss_block_bytes``, (z, y, x); one of zeros is written as such.

        Raises
        ------
        ArchiveError
        """
        (z0, y0, x0), (z1, y1, x1) = start, [a + n for a, n in zip(start, data.shape, strict=True)]
        resource = _resource(collection, experiment, channel)
        ranges = ([x0, x1], [y0, y1], [z0, z1])

        def put() -> None:
            if data.any():
                self._remote.create_cutout(resource, 0, *ranges, data)
            else:
                self._remote.create_cutout_to_black(resource, 0, *ranges)

        self.ask(f"{collection}/{experiment}/{channel.name} z {z0}:{z1} y {y0}:{y1} x {x0}:{x1}", put)

    def make_channel(self, collection: str, experiment: str, name: str) -> bool:
        """See to it that there is a channel of an image of uint8; whether it was made now.

        Raises
        ------
        ArchiveError
            If there is one of another kind, or it may not be made.
        """
        made = False
        place = f"{collection}/{experiment}/{name}"

        def look_or_make() -> BossChannel:
            """Looked for again before each try: what was lost may have been the answer alone."""
            nonlocal made
            try:
                return self._look(collection, experiment, name)
            except UnknownVolumeError:
                pass
            wanted = ChannelResource(name, collection, experiment, "image", datatype="uint8")
            failed = outcome(lambda: self._remote.create_project(wanted), self._token)[1]
            if getattr(failed, "code", "") == "refused":  # somebody else may have made it meanwhile
                return self._look(collection, experiment, name)
            if failed is not None:
                raise failed
            made = True
            return BossChannel(name, np.dtype("uint8"))

        found = self.ask(place, look_or_make)
        if (found.dtype, found.kind) != (np.dtype("uint8"), "image"):
            raise ArchiveError(
                f"{place}: is there already, as {found.kind} of {found.dtype}; results are images of uint8",
                code="channel",
            )
        return made

    def try_making(self, collection: str, experiment: str) -> None:
        """Ask for a channel that cannot be made, of no data type: whether the token would be the reason.

        Raises
        ------
        TokenError
            If the token does not allow to make channels.
        ArchiveError
        """
        name = "voxelforest_permission_check"
        wanted = ChannelResource(name, collection, experiment, "image", datatype="uint8")
        wanted._datatype = "none"  # intern checks what it is given, the archive is to refuse it
        try:
            self.ask(f"{collection}/{experiment}", lambda: self._remote.create_project(wanted))
        except ArchiveError as error:
            if error.code == "refused":
                return
            raise

    def ask(self, place: str, request: Callable[[], T]) -> T:
        """What a request about `place` gives; see `pipeline.boss.transport.ask`."""
        return ask(request, f"{self.url} {place}", self._token)

    def _look(self, collection: str, experiment: str, name: str) -> BossChannel:
        resource = ChannelResource(name, collection, experiment)
        found, failed = outcome(lambda: self._remote.get_project(resource), self._token)
        if failed is not None or found is None:
            raise failed or PassingError("it answered nothing")
        return BossChannel(name, np.dtype(found.datatype), found.type)


def _resource(collection: str, experiment: str, channel: BossChannel) -> ChannelResource:
    return ChannelResource(channel.name, collection, experiment, channel.kind, datatype=str(channel.dtype))
