"""The commands ``voxelforest models ...``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline import console
from pipeline.options import AsJson

models = typer.Typer(help="Classifiers of small cubes, as plain arrays.", no_args_is_help=True)

Channels = Annotated[
    str | None, typer.Option(help="What the names of the channels contain, in the components' order, commas between.")
]
HalfWidths = Annotated[
    str | None, typer.Option(help="Voxels z,y,x that a cube reaches to either side of its middle; 7,4,4 by default.")
]
Names = Annotated[str | None, typer.Option(help="Names of the forest's classes with commas between.")]


@models.callback()
def group() -> None:
    """Classifiers of small cubes, as plain arrays."""


@models.command("import")
def import_(
    pickled: Annotated[Path, typer.Argument(metavar="MODEL.pkl", help="A pickled forest of scikit-learn.")],
    components: Annotated[Path, typer.Argument(metavar="COMPONENTS.npy", help="What cubes are projected onto.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.npz", help="The arrays to write.")],
    channels: Channels = None,
    half_widths: HalfWidths = None,
    class_names: Names = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a pickled forest and its components into arrays; nothing in the pickle is executed."""
    from pipeline.analyses.model import CHANNELS, HALF_WIDTHS, check_model_path
    from pipeline.description import Section
    from pipeline.pickled_model import import_model

    check_model_path(out, overwrite)
    model = import_model(
        pickled,
        components,
        channels=channels.split(",") if channels else CHANNELS,
        half_widths=_numbers(half_widths) if half_widths else HALF_WIDTHS,
        class_names=class_names.split(",") if class_names else None,
    )
    model.write(out, overwrite=overwrite)
    rows = (
        ("model", str(out)),
        ("digest", model.digest),
        ("channels", ", ".join(model.channels)),
        ("cube", " x ".join(map(str, model.cube_shape)) + " voxels (z, y, x)"),
        ("components", str(len(model.components))),
        ("forest", f"{model.forest.n_trees} trees, {model.forest.n_nodes} nodes"),
        ("classes", ", ".join(model.class_names)),
    )
    document = {
        "model": str(out),
        "digest": model.digest,
        "channels": list(model.channels),
        "half_widths": list(model.half_widths),
        "components": len(model.components),
        "trees": model.forest.n_trees,
        "nodes": model.forest.n_nodes,
        "class_names": list(model.class_names),
    }
    console.show((Section("Written", (), rows),), document, as_json)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--half-widths {text}: three whole numbers are needed, such as 7,4,4") from None
