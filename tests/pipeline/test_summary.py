"""What is said at the end of a run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pipeline.summary import Summary, describe, to_dict
from tests.outputs import make_spec

SUMMARY = Summary("/data/out.zarr", (make_spec(),), 2_000_000, 4.0, 12, 300 << 20, reused=False)


def test_document_is_plain_json() -> None:
    document = to_dict(SUMMARY)
    assert json.loads(json.dumps(document)) == document
    assert document["images"] == [
        {"name": "probabilities", "dims": "czyx", "shape": [2, 20, 35, 33], "dtype": "float32"}
    ]


def test_lines_name_output_pace_memory_and_images() -> None:
    first, image, look = describe(SUMMARY)
    assert first == "/data/out.zarr: 2,000,000 voxels in 4.0 s (0.5 million a second), at most 300 MiB of memory"
    assert image == "  probabilities: c=2 z=20 y=35 x=33 float32"
    assert look.startswith("look: napari --plugin napari-ome-zarr /data/out.zarr;")


def test_a_reused_output_is_said_to_be_there() -> None:
    assert describe(replace(SUMMARY, reused=True))[0] == ("/data/out.zarr: was finished before, nothing is left to do")


@pytest.mark.parametrize(
    ("path", "names", "way"),
    [
        ("/data/my out.zarr", ("probabilities",), "napari-ome-zarr '/data/my out.zarr';"),
        ("/data/out.zarr", ("segmentation", "features"), "napari-ome-zarr /data/out.zarr/segmentation;"),
        ("/data/out.h5", ("probabilities",), "dataset exported_data; open_volume('/data/out.h5')"),
        ("/data/out.npy", ("probabilities",), "numpy.load('/data/out.npy', mmap_mode='r')"),
        ("/data/out.tif", ("probabilities",), "Fiji or napari; tifffile.memmap('/data/out.tif', mode='r')"),
        ("/data/out.png", ("segmentation",), "any viewer of pictures"),
    ],
)
def test_the_way_to_look_fits_the_output(path: str, names: tuple[str, ...], way: str) -> None:
    images = tuple(make_spec(name=name) for name in names)
    assert way in describe(replace(SUMMARY, path=path, images=images))[-1]
