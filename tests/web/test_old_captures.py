"""Answers of the old data provider, as they were recorded; faults that the checklist names are not reproduced."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.servers import Address, serving_here
from tests.web.old_boxes import Array, dataset_of, picture_of, problem_of, stretched

# Data sets by prefix: the array in a file's order, the options that go with it; "a" and "f" are somebody else's file.
MADE: dict[str, tuple[Array, str]] = {
    "b": ((np.arange(210) * 257 % 65536).astype(np.uint16).reshape(5, 6, 7), "zyx"),
    "c": (np.linspace(-1, 1, 240).astype(np.float32).reshape(4, 5, 6, 2), "xyzc"),
    "d": (np.arange(240).astype(np.uint8).reshape(2, 4, 5, 6, 1), "txyzc"),
    "e": (np.arange(40).astype(np.uint8).reshape(2, 4, 5), "tyx"),
}
FILES: dict[str, dict[str, str]] = {"a": {}, "f": {"max_size": "x=100,y=90"}}
# Where the old service left whole axes in (items 24 and 29): what the box holds.
CORRECTED = {
    "c_raw_channel_0": MADE["c"][0][:2, :2, :2, :1].tobytes(),
    "d_raw": MADE["d"][0][:1, :2, :2, 1:2].tobytes(),
    "e_raw": MADE["e"][0][:1, 1:3, 1:3].transpose(0, 2, 1).tobytes(),
}
REFUSED = {"b_png_volume"}  # two planes were taken for colours


@pytest.fixture(scope="module", params=[*FILES, *MADE])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Address]]:
    """A server over each of the data sets, and its prefix."""
    prefix, folder = request.param, tmp_path_factory.mktemp(request.param)
    if prefix in FILES:
        path = Path(__file__).parents[3] / "shared" / "reference" / "ilastik" / "raw.h5"
        if not path.is_file():
            pytest.skip(f"no third-party data at {path}")
        options = {"axes": "yx", **FILES[prefix]}
    else:
        values, axes = MADE[prefix]
        path, options = folder / "raw.npy", {"axes": axes}
        np.save(path, values)
    with serving_here(None, path, **options) as server:
        yield prefix, server


def test_answers_are_those_that_were_recorded(recorded: tuple[str, Address], captures: Path) -> None:
    prefix, server = recorded
    cases = [case for case in json.loads((captures / "index.json").read_text()) if case["case"][0] == prefix]
    assert cases
    for case in cases:
        _check(server, case["case"], case["method"], case["target"], captures)


def _check(server: Address, name: str, method: str, target: str, captures: Path) -> None:
    reply = server.ask(target, method=method)
    head, body = (captures / f"{name}.head").read_text(), (captures / f"{name}.body").read_bytes()
    status = int(head.split()[1])
    if status != 200 or name in REFUSED:
        problem_of(reply, 400 if status in (200, 500) else status)  # what was an error page has a reason now
        return
    if name.endswith("_doc"):
        assert all(route in reply.text for route in ("/info/dim", "/info/dtype", "/info/shape", "/raw/"))
    elif name in CORRECTED:
        assert reply.body == CORRECTED[name], name
    elif "_png" in name or "_tiff" in name:
        shown = picture_of(reply)
        expected = np.asarray(Image.open(io.BytesIO(body)))
        if name == "c_png_negative_values":  # both channels had come back
            assert np.array_equal(shown, stretched(MADE["c"][0][:, :, 0, 0]).T)
            reply = server.ask(target.replace("1_4_5_1_1", "1_4_5_1_2"))
            shown = picture_of(reply)
        assert np.array_equal(shown, expected), name
    elif "_hdf5" in name:
        with h5py.File(io.BytesIO(body), "r") as file:
            expected = file["exported_data"][()]
        found = dataset_of(reply)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected), name
    else:
        assert reply.body == body, name
    for line in head.splitlines()[1:]:
        key, _, value = line.partition(": ")
        if key in ("Content-Type", "Cache-Control"):
            assert reply.headers[key] == value, name
