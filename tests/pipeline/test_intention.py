"""What is said before a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.intention import describe_work, warn_of_little_space
from pipeline.run import make_plan
from tests.outputs import begin, make_spec
from tests.runs import make_request


@pytest.mark.parametrize(("name", "disk"), [("out.zarr", "207.5 KiB"), ("out.h5", "360.9 KiB")])
def test_work_is_told_in_blocks_memory_and_disk_space(golden_dir: Path, tmp_path: Path, name: str, disk: str) -> None:
    plan = make_plan(make_request(golden_dir, tmp_path / name))
    line = describe_work(plan, begin(tmp_path / name, make_spec()), done=3, threads=7)
    assert line.startswith("probabilities of 56,240 voxels: blocks of 37x40x38, 1 in all (3 are done), on 7 threads")
    assert line.endswith(f"at most {disk} into {tmp_path / name}")


def test_little_space_is_told_and_enough_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = begin(tmp_path / "out.zarr", make_spec())
    assert warn_of_little_space(store) is None
    monkeypatch.setattr("pipeline.local_output.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    assert "has 1000 B free; the output takes " in (warn_of_little_space(store) or "")
