"""The command ``voxelforest train``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import console
from pipeline.options import AsJson, Axes, Dataset, Level, open_named

if TYPE_CHECKING:
    from pipeline.description import Section
    from pipeline.training import Training

SHOWN = 12  # importances in the table; --json has all

RawPath = Annotated[str, typer.Argument(metavar="RAW", help="The volume that was annotated.")]
LabelPath = Annotated[
    str,
    typer.Argument(
        metavar="LABELS", help="A label image of the volume's shape, 0 where nobody drew, or an .ilp with annotations."
    ),
]
Out = Annotated[str, typer.Argument(metavar="OUT.ilp", help="The project to write.")]
Features = Annotated[
    str | None,
    typer.Option(help="standard (default), all, light, or names with commas between; those of an .ilp by default."),
]
Scales = Annotated[str | None, typer.Option(help="Scales in voxels with commas between, such as 0.7,1.6,3.5.")]
Keep = Annotated[int | None, typer.Option(help="Train again with so many features only, those that mattered most.")]
Names = Annotated[str | None, typer.Option(help="Names of the labels 1, 2, ... with commas between.")]
Trees = Annotated[int, typer.Option(help="Number of trees.")]
Seed = Annotated[int, typer.Option(help="The same data and seed give the same forest.")]
Lane = Annotated[int | None, typer.Option(help="Which image's annotations, where LABELS is an .ilp with several.")]
LabelDataset = Annotated[str | None, typer.Option(help="Array inside LABELS, where there are several.")]
LabelAxes = Annotated[str | None, typer.Option(help="Axes of LABELS in its order.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a project that exists.")]


def train(
    raw: RawPath,
    labels: LabelPath,
    out: Out,
    features: Features = None,
    scales: Scales = None,
    keep: Keep = None,
    names: Names = None,
    trees: Trees = 100,
    seed: Seed = 0,
    lane: Lane = None,
    dataset: Dataset = None,
    axes: Axes = None,
    level: Level = 0,
    labels_dataset: LabelDataset = None,
    labels_axes: LabelAxes = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Train a forest on annotated voxels, into a project that ilastik opens."""
    from pipeline import display, training

    if not out.lower().endswith(".ilp"):
        raise typer.BadParameter(f"{out} does not end in .ilp")
    _refuse_existing(out, overwrite)
    with display.report(as_json) as progress:
        volume = open_named(raw, progress.note, dataset=dataset, axes=axes, level=level)
        drawn: Any = labels
        if not labels.lower().endswith(".ilp"):
            own_axes = volume.source_axes.replace("c", "")
            drawn = open_named(
                labels, progress.note, dataset=labels_dataset, axes=labels_axes, level=level, project_axes=own_axes
            )
        trained = training.train(
            volume,
            drawn,
            features=features,
            scales=_numbers(scales),
            keep=keep,
            class_names=names.split(",") if names else None,
            trees=trees,
            seed=seed,
            lane=lane,
            progress=progress,
        )
        trained.write(out, overwrite=overwrite)
    console.show(_describe(trained, raw, out), _to_dict(trained, out), as_json)


def _refuse_existing(out: str, overwrite: bool) -> None:
    """Before the work, not after it."""
    from pathlib import Path

    from pipeline.errors import StoreError

    if Path(out).exists() and not overwrite:
        raise StoreError(f"{out} exists; choose another name or --overwrite")
    if not Path(out).absolute().parent.is_dir():
        raise StoreError(f"{out}: there is no folder {Path(out).absolute().parent}; make it first")


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--scales {text}: numbers with commas between are needed, such as 0.7,1.6") from None


def _describe(trained: Training, raw: str, out: str) -> tuple[Section, ...]:
    from pipeline.description import Section

    (stage,) = trained.project.stages
    names = [stage.class_names[label - 1] for label in stage.forest.labels]
    counts = [int((trained.annotations.labels == label).sum()) for label in stage.forest.labels]
    rows = [
        (name, str(n), *map(str, said)) for name, n, said in zip(names, counts, trained.confusion.tolist(), strict=True)
    ]
    score = "no score: too few trees" if trained.score is None else f"{trained.score:.1%} right"
    important = [(name, f"{value:.1%}") for name, value in trained.importances[:SHOWN]]
    return (
        Section(f"Voxels, by trees that had not seen them ({score})", ("drawn", "voxels", *names), tuple(rows)),
        Section("What mattered most", ("feature", "share"), tuple(important)),
        Section("Written", (), (("project", out), ("predict with it", f"voxelforest predict {out} {raw} OUT.zarr"))),
    )


def _to_dict(trained: Training, out: str) -> dict[str, Any]:
    (stage,) = trained.project.stages
    return {
        "project": out,
        "digest": trained.project.digest,
        "voxels": len(trained.annotations),
        "classes": [
            {
                "label": label,
                "name": stage.class_names[label - 1],
                "voxels": int((trained.annotations.labels == label).sum()),
            }
            for label in stage.forest.labels
        ],
        "score": trained.score,
        "confusion": trained.confusion.tolist(),
        "importances": dict(trained.importances),
        "trees": stage.forest.n_trees,
        "columns": stage.forest.n_columns,
    }
