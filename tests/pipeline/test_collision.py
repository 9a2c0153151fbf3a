"""What an output may not touch."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.collision import refuse_collision
from pipeline.errors import StoreError
from pipeline.output import locate


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A folder with a file, a Zarr group and a link to each."""
    (tmp_path / "raw.h5").touch()
    (tmp_path / "raw.zarr" / "0").mkdir(parents=True)
    (tmp_path / "raw.zarr" / "zarr.json").touch()
    (tmp_path / "link.h5").symlink_to("raw.h5")
    (tmp_path / "link.zarr").symlink_to("raw.zarr")
    (tmp_path / "out.partial.zarr" / "0").mkdir(parents=True)
    (tmp_path / "out.partial.zarr" / "0" / ".zarray").touch()
    (tmp_path / "deep.zarr" / "below").mkdir(parents=True)
    (tmp_path / "deep.zarr" / "below" / "pc.ilp").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("output", "read", "text"),
    [
        ("raw.h5", "raw.h5/exported_data", "raw.h5 is the input"),
        ("raw.h5", "link.h5", "raw.h5 is the input"),
        ("link.h5", "raw.h5", "link.h5 is the input"),
        ("raw.zarr", "raw.zarr/0", "raw.zarr is the input"),
        ("link.zarr", "raw.zarr", "link.zarr is the input"),
        ("raw.zarr/out.zarr", "raw.zarr/0", "out.zarr lies in the input"),
        ("raw.zarr/0/out.npy", "raw.zarr", "out.npy lies in the input"),
        ("deep.zarr", "deep.zarr/below/pc.ilp", "deep.zarr contains the input"),
        ("out.h5", "out.partial.zarr/0", "out.partial.zarr contains the input"),
    ],
)
def test_an_output_that_would_harm_an_input_is_refused(inputs: Path, output: str, read: str, text: str) -> None:
    with pytest.raises(StoreError, match=text) as caught:
        refuse_collision(locate(inputs / output), ["s3://bucket/other.zarr", str(inputs / read)])
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("output", ["raw2.h5", "out.zarr", "deep.zarr/out.zarr", "raw.npy"])
def test_an_output_beside_its_inputs_is_fine(inputs: Path, output: str) -> None:
    refuse_collision(locate(inputs / output), [f"{inputs}/raw.h5/data", f"{inputs}/raw.zarr", "memory://raw2.h5"])
