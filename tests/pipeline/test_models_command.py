"""``voxelforest models import`` as a person meets it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from pipeline.analyses.model import load_model
from tests import pickles
from tests.commands import run_here

OPTIONS = ("--channels", "PSD,synapsin", "--half-widths", "0,1,1")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A pickled forest and its components."""
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(pickles.grow_forest()))
    np.save(tmp_path / "components.npy", pickles.components())
    return tmp_path / "model.pkl", tmp_path / "components.npy"


def test_pickle_in_arrays_out(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m.npz"
    done = run_here(capsys, "models", "import", *files, out, *OPTIONS)
    assert done.code == 0, done.err
    model = load_model(out)
    text = "\n".join(done.out)
    for word in (model.digest, "PSD, synapsin", "1 x 3 x 3", "7 trees", "non-GABA, GABA"):
        assert word in text
    again = run_here(capsys, "models", "import", *files, out, *OPTIONS)
    assert again.code == 2
    assert "exists; choose another name or --overwrite" in again.err[-1]
    replaced = run_here(
        capsys, "models", "import", *files, out, *OPTIONS, "--overwrite", "--class-names", "a,b", "--json"
    )
    assert replaced.code == 0
    assert '"class_names"' in "".join(replaced.out)
    assert load_model(out).class_names == ("a", "b")


def test_hostile_pickle(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files[0].write_bytes(pickles.hostile(tmp_path / "witness")["system"])
    refused = run_here(capsys, "models", "import", *files, tmp_path / "m.npz", *OPTIONS)
    assert refused.code == 2
    assert len(refused.err) == 1
    assert "names 'posix'.'system', which a pickled forest does not need" in refused.err[0]
    assert not (tmp_path / "witness").exists()
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "belong"),
        (("--half-widths", "a"), "three whole numbers are needed"),
        (("--half-widths", "1,1"), "three whole numbers"),
        (("--channels", "a,b,c"), "components for 18 voxels"),
    ],
)
def test_bad_usage(
    files: tuple[Path, Path], tmp_path: Path, options: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not options:
        np.save(files[1], np.zeros((4, 18)))
    refused = run_here(capsys, "models", "import", *files, tmp_path / "m.npz", *options)
    assert refused.code == 2
    assert says in refused.err[-1]


def test_group_alone_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run_here(capsys, "models", "--help")
    assert shown.code == 0
    assert "import" in "\n".join(shown.out)
