"""Volumes of an archive, and results pushed to it: the Block and Object Storage Service, BOSS.

Nothing is asked of the archive when a `BossArchive` is made, and intern is imported with the first request.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.boss.address import Range, check_name, parse_names, parse_url
from pipeline.boss.experiment import Experiment, Index
from pipeline.boss.tokens import ENVIRONMENT, VAULT
from pipeline.config import settings
from pipeline.errors import MissingExtraError
from pipeline.formats.handles import HANDLES
from pipeline.progress import Progress

if TYPE_CHECKING:
    from pipeline.boss.session import Session
    from pipeline.volume import Volume


class BossArchive:
    """An archive, and who asks it.

    Parameters
    ----------
    url : str, optional
        ``https://name`` or ``http://name:port``; ``VOXELFOREST_BOSS_URL`` by default.
    token : str, optional
        Kept in the memory of this process until `close`, which a ``with`` block calls; that of the environment by
        default.

    Raises
    ------
    ArchiveError
        If the URL is none.
    TokenError
        If `token` cannot be one.

    Examples
    --------
    >>> archive = BossArchive("https://api.boss.neurodata.io")
    >>> archive
    <BossArchive https://api.boss.neurodata.io>
    >>> volumes = archive.open("collman", "M247514_Rorb_1_Site3Align2_EM", z=(0, 24))  # doctest: +SKIP
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self.url = "{}://{}".format(*parse_url(settings().boss_url if url is None else url))
        self._credential = ENVIRONMENT if token is None else VAULT.hold(token)

    def __repr__(self) -> str:
        return f"<BossArchive {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the token that was given; of volumes that were opened with it, no more blocks can be fetched."""
        VAULT.drop(self._credential)
        if self._credential != ENVIRONMENT:
            HANDLES.forget(lambda key: key == ("boss", self.url, self._credential))

    def experiment(self, collection: str, experiment: str) -> Experiment:
        """What the archive says about an experiment.

        Raises
        ------
        TokenError
            If there is no token, or it does not allow this.
        UnknownVolumeError
            If there is no such experiment.
        TransientArchiveError
            If the archive does not answer properly, however often it is asked.
        """
        check_name("a collection", collection)
        check_name("an experiment", experiment)
        return self._session().experiment(collection, experiment)

    def open(
        self,
        collection: str,
        experiment: str,
        z: Range | None = None,
        y: Range | None = None,
        x: Range | None = None,
        channels: Sequence[str] | None = None,
        version: str | None = None,
        check: bool = False,
    ) -> dict[str, Volume]:
        """Channels of an experiment as volumes; reads no voxels, unless it is to be checked that this is allowed.

        Parameters
        ----------
        collection, experiment : str
        z, y, x : tuple of int, optional
            Start and stop in voxels of the coordinate frame; all of it by default.
        channels : sequence of str, optional
            All by default.
        version : str, optional
            A word that tells states of the data apart: what was fetched under another word is not used.
        check : bool
            Read one voxel of each channel: a token that does not allow it is refused now.

        Returns
        -------
        dict of str to Volume
            (z, y, x) each, in the order of the archive's list or of `channels`.

        Raises
        ------
        ArchiveError
            As `experiment`; with the code ``range`` or ``channel`` if these do not fit.
        """
        found = self.experiment(collection, experiment)
        from pipeline.formats.boss import make_source
        from pipeline.volume import Volume

        region = found.region(z, y, x)
        word = check_name("a version", version) if version else ""
        chosen = found.select(channels)
        for channel in chosen if check else ():
            self._session().read(collection, experiment, channel, region[0], _behind(region[0]))
        return {
            channel.name: Volume(make_source(found, (channel,), region, self._credential, word), "zyx", "the archive")
            for channel in chosen
        }

    def check_pushing(
        self,
        target: str,
        channels: Sequence[str] = (),
        start_zyx: Index | None = None,
        stop_zyx: Index | None = None,
    ) -> None:
        """Whether results can be pushed with this token.

        Parameters
        ----------
        target : str
            ``collection/experiment``.
        channels : sequence of str
            The channels that will be pushed to, by `channel_name`. They are made where they are missing, and one voxel
            of each is written as it is: the archive knows separate rights for both. Without channels nothing is made.
        start_zyx, stop_zyx : tuple of int, optional
            The region, which has to lie inside the target's coordinate frame.

        Raises
        ------
        ArchiveError
        """
        collection, experiment = parse_names(target)
        found = self.experiment(collection, experiment)
        from pipeline.boss.push import check_writing

        start, _ = found.region(*zip(start_zyx, stop_zyx, strict=True)) if start_zyx and stop_zyx else found.region()
        if not channels:
            self._session().try_making(collection, experiment)
        for name in channels:
            check_writing(self._session(), found, check_name("a channel", name), start)

    def push(
        self,
        target: str,
        channel: str,
        volume: str | os.PathLike[str] | Volume,
        start_zyx: Index,
        *,
        progress: Progress | None = None,
        resume: bool = True,
        cancelled: Callable[[], bool] | None = None,
    ) -> str:
        """Write a result as a channel: 255 where it is not zero, 0 elsewhere, at the same coordinates as its source.

        Parameters
        ----------
        target : str
            ``collection/experiment``.
        channel : str
            By `channel_name`; made if it is missing, with type image and uint8.
        volume : path or Volume
            (z, y, x); read block by block.
        start_zyx : tuple of int
            Where its first voxel lies in the coordinate frame.
        progress : Progress, optional
        resume : bool
            Whether blocks of a channel that was there already are compared first, and sent only where they differ.
        cancelled : callable, optional
            Asked after each block; true ends the push.

        Returns
        -------
        str
            The channel's URL.

        Raises
        ------
        ArchiveError
            As `check_pushing`; what is written stays, and the same call goes on.
        CancelledError
            If `cancelled` said so; likewise.
        """
        from pipeline.volume import Volume, open_raw

        collection, experiment = parse_names(target)
        check_name("a channel", channel)
        opened = volume if isinstance(volume, Volume) else open_raw(volume)
        session, found = self._session(), self.experiment(collection, experiment)
        from pipeline.boss.push import push

        return push(
            session, found, channel, opened, start_zyx, progress or Progress(), resume=resume, cancelled=cancelled
        )

    def _session(self) -> Session:
        try:
            from pipeline.boss.session import session
        except ImportError as error:
            raise MissingExtraError(f"{self.url}: the archive needs intern: pip install 'voxelforest[boss]'") from error
        return session(self.url, self._credential)


def _behind(start: Index) -> Index:
    """The voxel behind a box of one."""
    return start[0] + 1, start[1] + 1, start[2] + 1
