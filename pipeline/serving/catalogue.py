"""Which volumes and projects are served, by name, and the layers that they give."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pipeline.axes import AxesGuessedWarning
from pipeline.errors import CatalogueError, ConflictError, GoneError, PlanError, UnknownError, VolumeError
from pipeline.formats.first_part import FirstPart
from pipeline.project import Project, open_project
from pipeline.serving.configuration import Configuration, VolumeRow
from pipeline.serving.found_runs import find_runs
from pipeline.serving.label_layers import FoundLabels, find_labels, labels_layer
from pipeline.serving.layer import LAYERS, Layer, ServedVolume
from pipeline.serving.layers import predicted_layers, raw_layer
from pipeline.serving.uploads import Uploads
from pipeline.suggestion import did_you_mean
from pipeline.volume import Volume, open_raw

__all__ = ["Catalogue", "Layer", "ServedVolume"]

_DIGEST = re.compile(r"[0-9a-f]{32}", re.ASCII)
LOOK_SECONDS = 10.0  # between two looks for runs that have been finished
_MOST_LEVELS = 64  # of a file's own pyramid that are looked for


class Catalogue:
    """What is served; safe to use from several threads.

    Parameters
    ----------
    volumes : sequence of ServedVolume
        In the order in which they are listed; the first is what the old routes speak of.
    projects : mapping of str to Project
    uploads : Uploads, optional
        Where projects that are uploaded are kept; none are taken without.
    """

    def __init__(
        self, volumes: Sequence[ServedVolume], projects: Mapping[str, Project], uploads: Uploads | None = None
    ) -> None:
        self.uploads = uploads
        self._volumes = {volume.name: volume for volume in volumes}
        self._projects = dict(projects)
        self._layers: dict[tuple[str, str | None], tuple[Layer, ...]] = {}
        self._found: dict[str, tuple[FoundLabels, ...]] = {}
        self._next_look: dict[str, float] = {}
        self._lock = threading.RLock()
        if uploads is not None:
            for name, project in uploads.load():
                self._projects.setdefault(name, project)

    @classmethod
    def open(cls, configuration: Configuration, uploads: Uploads | None = None) -> Catalogue:
        """Open everything that a configuration names.

        Raises
        ------
        PipelineError
            If a volume or a project cannot be opened.
        """
        projects = {row.name: open_project(row.path) for row in configuration.projects}
        volumes = [_open_volume(row, projects, configuration.results) for row in configuration.volumes]
        return cls(volumes, projects, uploads)

    @property
    def volumes(self) -> Mapping[str, ServedVolume]:
        """By name, in the order of the configuration."""
        return MappingProxyType(self._volumes)

    @property
    def projects(self) -> Mapping[str, Project]:
        """By name: those of the configuration, then uploads."""
        with self._lock:
            return MappingProxyType(dict(self._projects))

    @property
    def first(self) -> ServedVolume:
        """What the old routes speak of.

        Raises
        ------
        UnknownError
            If no volume is served.
        """
        if not self._volumes:
            raise UnknownError("no volume is served; name one in the server's configuration")
        return next(iter(self._volumes.values()))

    def volume(self, name: str) -> ServedVolume:
        """A volume by name.

        Raises
        ------
        UnknownError
            Listing the names that there are.
        """
        if name not in self._volumes:
            raise UnknownError(_unknown("volume", name, self._volumes))
        return self._volumes[name]

    def project(self, name: str) -> Project:
        """A project by name.

        Raises
        ------
        UnknownError
            Listing the names that there are.
        """
        with self._lock:
            if name not in self._projects and self.uploads is not None and self.uploads.has(name):
                self._projects[name] = self.uploads.open(name)  # taken in by another process
            if name not in self._projects:
                raise UnknownError(_unknown("project", name, self._projects))
            return self._projects[name]

    def add_project(self, name: str, project: Project) -> None:
        """Serve one more project, on all volumes that it fits; a name that is taken keeps its project."""
        with self._lock:
            self._projects.setdefault(name, project)

    def layers(self, volume: str, project: str | None = None) -> tuple[Layer, ...]:
        """The layers of a volume, raw data first.

        Parameters
        ----------
        volume : str
        project : str, optional
            The volume's first project by default; without any, there is raw data alone.

        Raises
        ------
        UnknownError
            If there is no such volume or project.
        PlanError
            If the project was named and does not fit the data.
        """
        served = self.volume(volume)
        named = project if project is not None else next(iter(served.projects), None)
        with self._lock:
            self._look(served)
            raw = self._made(served, None)
            return raw if named is None else (*raw, *self._made(served, named))

    def layer(self, volume: str, name: str, project: str | None = None) -> Layer:
        """A layer by name; see `layers`.

        Raises
        ------
        UnknownError
            Also if there is no such layer.
        ConflictError
            If labels have to be made by a run first.
        """
        if name == "raw":  # needs no project, so one that does not fit does no harm
            if project is not None:
                self.project(project)
            with self._lock:
                return self._made(self.volume(volume), None)[0]
        found = {layer.name: layer for layer in self.layers(volume, project)}
        if name == "labels" and "probabilities" in found and name not in found:
            labels_layer(found["probabilities"], self._labels(self.volume(volume)))  # raises: says what is to be done
        if name not in found:
            why = "; no project is served for it" if name in LAYERS and len(found) == 1 else ""
            raise UnknownError(_unknown(f"layer of {volume}", name, found) + why)
        return found[name]

    def by_digest(self, volume: str, name: str, digest: str) -> Layer:
        """The layer that has a digest, with whatever project.

        Raises
        ------
        UnknownError
            If there is no such volume or layer, or the digest is none.
        GoneError
            If no layer has this digest now.
        """
        served = self.volume(volume)
        if name not in LAYERS:
            raise UnknownError(_unknown(f"layer of {volume}", name, dict.fromkeys(LAYERS)))
        if not _DIGEST.fullmatch(digest):
            raise UnknownError(f"{digest!r} is no digest: those have 32 hexadecimal digits")
        names = [None] if name == "raw" else [*served.projects, *(set(self.projects) - set(served.projects))]
        for project in names:
            try:
                layer = self.layer(volume, name, project)
            except (ConflictError, PlanError, UnknownError):
                continue
            if layer.digest == digest:
                return layer
        raise GoneError(f"{name} of {volume} with the digest {digest} is not served now: data or settings changed")

    def _labels(self, served: ServedVolume) -> tuple[FoundLabels, ...]:
        """What runs have found, those that the configuration names first."""
        return (*served.labels, *self._found.get(served.name, ()))

    def _look(self, served: ServedVolume) -> None:
        """See now and then whether a run has been finished; layers that speak of labels are made again then."""
        now = time.monotonic()
        if not served.folders or now < self._next_look.get(served.name, 0.0):
            return
        before, found = self._found.get(served.name, ()), find_runs(served.folders, served.volume)
        self._next_look[served.name] = now + LOOK_SECONDS
        if [each.volumes[0].digest for each in found] != [each.volumes[0].digest for each in before]:
            self._found[served.name] = found
            self._layers = {key: made for key, made in self._layers.items() if key[0] != served.name or key[1] is None}

    def _made(self, served: ServedVolume, project: str | None) -> tuple[Layer, ...]:
        """Raw data, or what a project makes of it; made once."""
        key = served.name, project
        if key not in self._layers:
            if project is None:
                self._layers[key] = (raw_layer(served),)
            else:
                (raw,) = self._made(served, None)
                made = predicted_layers(served, project, self.project(project), raw)
                with contextlib.suppress(ConflictError):  # `layer` says why, to who asks for labels
                    made = (*made, labels_layer(made[0], self._labels(served)))
                self._layers[key] = made
        return self._layers[key]


def _open_volume(row: VolumeRow, projects: Mapping[str, Project], results: Sequence[str]) -> ServedVolume:
    names = tuple(projects) if row.projects is None else row.projects
    for name in names:
        if name not in projects:
            raise CatalogueError(f"volume {row.name}: " + _unknown("project", name, projects))
    project_axes = projects[names[0]].axes if names else None
    volume = _cut(_open_level(row, row.level, project_axes), dict(row.max_size))
    if row.max_size:  # the file's own pyramid is of the whole
        return ServedVolume(row.name, volume, names)
    labels = tuple(find_labels(path, volume) for path in row.labels)
    coarser = []
    for level in range(row.level + 1, row.level + 1 + _MOST_LEVELS):
        try:
            coarser.append(_open_level(row, level, project_axes))
        except VolumeError:
            break
    beside = () if "://" in row.path else (os.path.dirname(row.path) or ".",)
    return ServedVolume(row.name, volume, names, tuple(coarser), labels, (*beside, *results))


def _open_level(row: VolumeRow, level: int, project_axes: str | None) -> Volume:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AxesGuessedWarning)
        return open_raw(
            row.path,
            dataset=row.dataset,
            axes=row.axes,
            level=level,
            project_axes=project_axes,
            version=row.version,
        )


def _cut(volume: Volume, limits: Mapping[str, int]) -> Volume:
    """The first part of a volume, nowhere longer than the limits."""
    axes = volume.source_axes
    for axis in limits:
        if axis not in axes:
            raise CatalogueError(f"{volume.url}: max_size names the axis {axis}; there is {', '.join(axes)}")
    shape = tuple(min(n, limits.get(axis, n)) for axis, n in zip(axes, volume.source.shape, strict=True))
    if shape == tuple(volume.source.shape):
        return volume
    return replace(volume, source=FirstPart(volume.source, shape))


def _unknown(what: str, name: str, known: Mapping[str, object]) -> str:
    listed = ", ".join(known) or "none"
    return f"there is no {what} {name!r}; there is {listed}{did_you_mean(name, tuple(known))}"
