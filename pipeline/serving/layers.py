"""Making layers: what raw data and a project give to look at, with levels, digests and recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline import plan as planning
from pipeline import pyramid
from pipeline.config import settings
from pipeline.errors import PlanError
from pipeline.formats.source import fingerprint_of
from pipeline.images import ImageSpec
from pipeline.plan import Plan
from pipeline.prediction import Task, make_task, run_digest
from pipeline.project import Project
from pipeline.result_images import specify
from pipeline.serving.layer import PREDICTED, Layer, LayerLevel, ServedVolume
from pipeline.serving.levels import counted_dtype, raw_levels, tile_cost
from pipeline.serving.recipe import DerivedRecipe, ProbabilityRecipe, RawRecipe
from pipeline.volume import Volume

RULES = 1  # raised whenever a served layer changes in any bit for a reason that its digest does not hold


def raw_layer(served: ServedVolume) -> Layer:
    """Raw data."""
    volume, limits = served.volume, settings()
    levels, volumes = raw_levels(volume, served.coarser, limits)
    dtype = counted_dtype(volume.dtype)
    return Layer(
        name="raw",
        volume=served,
        project=None,
        project_name=None,
        digest=_digest("raw", [each.digest for each in volumes], levels),
        dims=volume.dims,
        dtype=dtype,
        spacing=volume.spacing,
        units=volume.units,
        channel_names=(),
        channel_colors=(),
        value_range=(0.0, 255.0) if dtype == "uint8" else None,
        levels=levels,
        reduce="mean",
        recipe=RawRecipe(volumes, volume.dims, str(dtype)),
    )


def predicted_layers(served: ServedVolume, project_name: str, project: Project, raw: Layer) -> tuple[Layer, ...]:
    """Probabilities, segmentation and uncertainty.

    Parameters
    ----------
    served : ServedVolume
    project_name : str
    project : Project
    raw : Layer
        The raw layer of the volume, whose coarse levels are predicted where exact ones cost too much.

    Raises
    ------
    PlanError
        If data and project do not fit each other.
    """
    plan = _plan(served.volume, project)
    specs = specify(plan, served.volume, project.stages[-1], "0.4")
    levels, tasks = _predicted_levels(specs[0], project, make_probability_task(served.volume, project, plan), raw)
    said = [run_digest(served.volume.digest, project, plan), raw.digest]
    made: list[Layer] = []
    for spec, result in zip(specs, plan.results, strict=True):
        recipe = DerivedRecipe(result, specs[0].dims) if made else ProbabilityRecipe(tasks, spec.dims)
        own = tuple(_without_channels(level, specs[0].dims) for level in levels) if made else levels
        layer = Layer(
            name=spec.name,
            volume=served,
            project=project,
            project_name=project_name,
            digest=_digest(spec.name, said, own),
            dims=spec.dims,
            dtype=np.dtype(spec.dtype),
            spacing=spec.spacing,
            units=spec.units,
            channel_names=spec.channel_names,
            channel_colors=spec.channel_colors,
            value_range=spec.value_range,
            levels=own,
            reduce=spec.reduce,
            recipe=recipe,
            parent=made[0] if made else None,
        )
        made.append(layer)
    return tuple(made)


def _plan(volume: Volume, project: Project) -> Plan:
    shape = volume.whole, volume.n_channels, str(volume.dtype), volume.dims
    return planning.make(*shape, project, outputs=PREDICTED)


def make_probability_task(volume: Volume, project: Project, plan: Plan) -> Task:
    """The task of a plan, for probabilities alone: the other results follow from them."""
    return replace(make_task(volume, project, plan), results=plan.results[:1])


def _predicted_levels(
    spec: ImageSpec, project: Project, task: Task, raw: Layer
) -> tuple[tuple[LayerLevel, ...], dict[int, Task]]:
    """Levels, and a task for each that is predicted rather than averaged."""
    geometry = pyramid.levels(spec)
    levels, tasks = [LayerLevel.of(0, geometry[0], exact=True)], {0: task}
    for index, level in enumerate(geometry[1:], start=1):
        exact = tile_cost(geometry[0], level, spec.dims) <= settings().coarse_tile_voxels
        if not exact:
            coarse = _coarse_task(task, project, raw, index)
            if coarse is None:
                break
            tasks[index] = coarse
        levels.append(LayerLevel.of(index, level, exact))
    return tuple(levels), tasks


def _coarse_task(task: Task, project: Project, raw: Layer, index: int) -> Task | None:
    """Prediction from raw data of a level; None where there is no such level, or it is too small for the filters."""
    if index >= len(raw.levels):
        return None
    assert isinstance(raw.recipe, RawRecipe)
    volume = raw.recipe.volumes[index]
    try:
        plan = _plan(volume, project)
    except PlanError:
        return None
    # The forest is packed once; scales that are filtered in 2-D may differ where a level has one plane.
    stages = tuple(replace(model, stack=stack) for model, stack in zip(task.stages, plan.stacks, strict=True))
    return replace(task, volume=volume, image=plan.image, halo_zyx=plan.halo_zyx, stages=stages)


def _without_channels(level: LayerLevel, dims: str) -> LayerLevel:
    kept = [i for i, axis in enumerate(dims) if axis != "c"]
    shape, chunk, factors = (tuple(v[i] for i in kept) for v in (level.shape, level.chunk, level.factors))
    return LayerLevel(level.index, shape, chunk, factors, level.exact, tuple(level.last[i] for i in kept))


def _digest(name: str, parts: Sequence[object], levels: Sequence[LayerLevel]) -> str:
    geometry = [(level.shape, level.chunk, level.factors, level.exact) for level in levels]
    return fingerprint_of("layer", RULES, name, list(parts), geometry)[:32]
