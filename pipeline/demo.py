"""The demo: a made volume, a project trained on a corner of it, the whole volume predicted, and a picture.

It takes the way a person takes: annotate a crop in ilastik, save the project, then run that project on all of it. Only
the annotating is made up here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import samples
from pipeline.description import Section
from pipeline.errors import StoreError
from pipeline.features import DEFAULT_SCALES, FeatureSelection
from pipeline.images import ImageSpec
from pipeline.progress import Progress
from pipeline.project import open_project
from pipeline.run import Request, run
from pipeline.segmentation_inputs import Reading, open_map_inputs
from pipeline.segmentation_request import SegmentationRequest
from pipeline.segmentation_run import segment_volume
from pipeline.store import create
from pipeline.threshold_options import ThresholdOptions, choose_thresholding
from pipeline.training import train
from pipeline.volume import open_raw

Shape = tuple[int, int, int]

SHAPE: Shape = (64, 384, 384)
STROKES = 250
LEAST_NUCLEUS = 200  # voxels; the made nuclei have some 2,000
MADE = ("raw", "project", "probabilities", "objects", "table", "picture")
RECORD = "demo.json"  # marks a folder as the demo's own
SELECTED = {
    "GaussianSmoothing": (0.7, 1.6, 3.5, 5.0),
    "LaplacianOfGaussian": (1.6, 3.5, 5.0),
    "GaussianGradientMagnitude": (1.6, 3.5),
    "DifferenceOfGaussians": (1.6,),
    "StructureTensorEigenvalues": (3.5,),
    "HessianOfGaussianEigenvalues": (1.6, 3.5),
}


def run_demo(folder: Path, progress: Progress, shape: Shape = SHAPE) -> dict[str, Any]:
    """Do the whole main job in a folder.

    Parameters
    ----------
    folder : Path
        Made if it is missing; what an earlier demo left in it is replaced.
    progress : Progress
    shape : tuple of int, (z, y, x)
        Of the volume.

    Returns
    -------
    dict
        What was made: paths, seconds, and for each class the share of voxels, recall and precision.

    Raises
    ------
    StoreError
        If the folder cannot be written, or holds what no demo made.
    """
    _claim(folder)
    progress.note(f"making a volume of {'x'.join(map(str, shape))} voxels, and scribbles on a corner of it")
    sample = samples.tissue(shape)
    raw, project_path, out = folder / "raw.zarr", folder / "tissue.ilp", folder / "probabilities.zarr"
    write_volume(raw, sample.raw)
    progress.note("training a random forest on the scribbles, into an ilastik project")
    write_demo_project(project_path, sample)
    project = open_project(project_path)
    volume = open_raw(raw, project_axes=project.axes)
    summary = run(Request(project, volume, out, mode="overwrite"), progress)
    objects, table = folder / "objects.zarr", folder / "objects.csv"
    found = find_nuclei(out, raw, objects, table, progress)
    probabilities = open_raw(out)
    segmentation = 1 + probabilities.read(probabilities.whole)[0].argmax(axis=0).astype(np.uint8)
    picture = folder / "picture.png"
    plane = shape[0] // 2
    progress.note("drawing the picture")
    draw_picture(picture, sample.raw, probabilities[:, plane], segmentation, plane)
    document = {
        "raw": str(raw),
        "project": str(project_path),
        "probabilities": str(out),
        "objects": str(objects),
        "table": str(table),
        "n_objects": found,
        "picture": str(picture),
        "voxels": summary.voxels,
        "seconds": round(summary.seconds, 3),
        "plane": plane,
        "classes": score(segmentation, sample.truth),
    }
    (folder / RECORD).write_text(json.dumps(document, indent=2))
    return document


def _claim(folder: Path) -> None:
    """Make the folder, or take one that is empty or an earlier demo's: the demo replaces files in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / RECORD).is_file():
            raise StoreError(f"{folder} holds other files; name a new or an empty folder for the demo")
        (folder / RECORD).write_text("{}")
    except OSError as error:
        raise StoreError(f"cannot use the folder {folder} for the demo: {error.strerror}") from error


def describe_demo(document: dict[str, Any]) -> tuple[Section, ...]:
    """What `run_demo` made, as tables, and what to do next."""
    scores = [
        (row["name"], f"{row['share']:.1%}", f"{row['recall']:.1%}", f"{row['precision']:.1%}")
        for row in document["classes"]
    ]
    folder, plane = Path(document["raw"]).parent, document["plane"]
    command = f"voxelforest predict {document['project']} {document['raw']}"
    next_steps = (
        ("look", f"open {document['picture']}"),
        ("in the browser", f"voxelforest serve {document['project']} {document['raw']}"),
        ("the project", f"voxelforest info {document['project']}"),
        ("one plane", f"{command} {folder}/plane.npy --roi z={plane}:{plane + 1}"),
        ("your own", "voxelforest predict YOUR.ilp YOUR.h5 OUT.zarr"),
    )
    return (
        Section("Classes, against the truth", ("class", "of the volume", "recall", "precision"), tuple(scores)),
        Section("Objects", (), (("nuclei", str(document["n_objects"])),)),
        Section("Made", (), tuple((key, document[key]) for key in MADE)),
        Section("What to run next", (), next_steps),
    )


def write_volume(path: Path, raw: npt.NDArray[np.uint8]) -> None:
    """Write a volume (z, y, x) as OME-Zarr or HDF5, by the suffix, with the sample's voxel size."""
    chunks = (32, 128, 128)
    spec = ImageSpec("raw", "zyx", raw.shape, chunks, "uint8", samples.SPACING, samples.UNITS, value_range=(0, 255))
    made = {"software": "voxelforest demo"}
    store = create(path, [spec], provenance=made, digest="made", mode="overwrite", final_axes="zyx")
    store.write("raw", (0, 0, 0), raw)
    for level in store.level_blocks("raw"):
        for block in level:
            store.build_level_block("raw", block.level, block.start, block.stop)
    store.finish()


def write_demo_project(path: Path, sample: samples.Sample) -> None:
    """Train on scribbles over a corner, and write that crop and the project beside each other."""
    z, y, x = sample.raw.shape
    crop_shape = 3 * z // 4, y // 2, x // 2
    corner = tuple(slice(0, n) for n in crop_shape)
    crop, labels = sample.raw[corner], samples.scribbles(sample.truth[corner], STROKES)
    matrix = tuple(tuple(scale in chosen for scale in DEFAULT_SCALES) for chosen in SELECTED.values())
    selection = FeatureSelection(tuple(SELECTED), DEFAULT_SCALES, matrix, (False,) * len(DEFAULT_SCALES))
    write_volume(path.with_name("crop.h5"), crop)
    training = train(
        open_raw(path.with_name("crop.h5")),
        labels,
        features=selection,
        class_names=samples.CLASS_NAMES,
        class_colors=samples.CLASS_COLORS,
    )
    training.write(path, overwrite=True)


def find_nuclei(probabilities: Path, raw: Path, out: Path, table: Path, progress: Progress) -> int:
    """Segment the nuclei in a map of probabilities and measure them; returns how many there are."""
    inputs = open_map_inputs(str(probabilities), str(raw), Reading(), progress.note)
    source = inputs.source
    options = ThresholdOptions(channel="Nucleus", threshold=0.5, sigma="1", min_size=LEAST_NUCLEUS)
    thresholding, said = choose_thresholding(
        options, None, dims=source.dims, names=source.channel_names, n_channels=source.n_channels
    )
    progress.note(said)
    request = SegmentationRequest(
        source, out, thresholding, raw=inputs.raw, inputs=inputs.paths, table=table, mode="overwrite"
    )
    return int(segment_volume(request, progress).counts["kept"])


def score(segmentation: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> list[dict[str, Any]]:
    """For each class its share of the volume, and recall and precision by voxels."""
    rows = []
    for label, name in enumerate(samples.CLASS_NAMES, start=1):
        found, there = segmentation == label, truth == label
        both = float((found & there).sum())
        rows.append(
            {
                "name": name,
                "share": float(found.mean()),
                "recall": both / max(float(there.sum()), 1.0),
                "precision": both / max(float(found.sum()), 1.0),
            }
        )
    return rows


def draw_picture(
    path: Path,
    raw: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float32],
    segmentation: npt.NDArray[np.uint8],
    plane: int,
) -> None:
    """Raw data, probabilities and segmentation of one plane, and of a cut along z, side by side.

    Parameters
    ----------
    path : Path
        PNG to write.
    raw, segmentation : ndarray, (z, y, x), uint8
    probabilities : ndarray, (classes, y, x), float32
        Of the plane.
    plane : int
        Which z to show.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    colors = np.array(samples.CLASS_COLORS, np.float32) / 255
    blended = np.einsum("cyx,cr->yxr", probabilities, colors).clip(0, 1)
    aspect = samples.SPACING["z"] / samples.SPACING["y"]
    panels = [
        ("raw", raw[plane], raw[:, raw.shape[1] // 2]),
        ("probabilities", blended, None),
        ("most probable class", colors[segmentation[plane] - 1], colors[segmentation[:, raw.shape[1] // 2] - 1]),
    ]
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3, height_ratios=[raw.shape[1], raw.shape[0] * aspect])
    for column, (title, image, cut) in enumerate(panels):
        top, bottom = axes[:, column]
        top.imshow(image, cmap="gray")
        top.set_title(f"{title}, z = {plane}" if column == 0 else title)
        if cut is not None:
            bottom.imshow(cut, cmap="gray", aspect=aspect)
        for axis in (top, bottom):
            axis.set_axis_off()
    legend = [Patch(color=c, label=n) for c, n in zip(colors, samples.CLASS_NAMES, strict=True)]
    axes[1, 1].legend(handles=legend, loc="center", ncols=2, frameon=False)
    figure.savefig(path, dpi=110)
