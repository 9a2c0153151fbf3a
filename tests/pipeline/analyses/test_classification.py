"""Classes of detections in a made volume: cubes as they lie in memory, maps that show them, whatever the blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import synapse_samples
from pipeline.analyses.classification import volume_names
from pipeline.analyses.model import CubeModel
from pipeline.analyses.model_training import train_model
from pipeline.errors import ChannelError, ModelError
from pipeline.synapse_samples import SynapseSample
from tests.synapses import read, run, score_planes

HALF = np.array([7, 4, 4])
ONE = np.ones(3, int)
SHAPE = (32, 64, 72)
NAME = "nomads-classifier"


@pytest.fixture(scope="module")
def sample() -> SynapseSample:
    return synapse_samples.synapses(SHAPE, seed=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CubeModel]:
    cubes, classes = synapse_samples.synapses((40, 64, 64)).cut_cubes((7, 4, 4))
    made = train_model(cubes, classes, class_names=synapse_samples.CLASS_NAMES)
    path = tmp_path_factory.mktemp("model") / "model.npz"
    made.write(path)
    return path, made


@pytest.mark.parametrize("legacy", [False, True])
def test_classes_are_those_of_the_cubes(
    sample: SynapseSample, model: tuple[Path, CubeModel], tmp_path: Path, legacy: bool
) -> None:
    path, made = model
    result = run(sample.channels, tmp_path / "out", NAME, model=path, legacy=legacy, measure="needed")
    table = result.table
    places = table[["z", "y", "x"]].to_numpy()
    inside = ((places >= HALF) & (places + HALF < SHAPE)).all(axis=1)
    assert 0 < inside.sum() < len(places)
    volumes = [score_planes(v, legacy=True) if legacy else v for v in sample.channels.values()]
    boxes = [tuple(slice(a, b) for a, b in zip(p - HALF, p + HALF + ONE, strict=True)) for p in places[inside]]
    cubes = [np.stack([v[box] for v in volumes]) for box in boxes]
    found = made.classify(np.array(cubes, np.uint8))
    edge = ~inside
    if legacy:  # the original gives them to the second detection, wherever that is: see the golden data
        edge[1] = False
    else:
        assert list(table["class"][inside]) == [made.class_names[k - 1] for k in found]
    assert (table["class"][edge] == "edge").all()
    numbers = {"edge": 1, "non-GABA": 2, "GABA": 3}
    by_id = np.array([0, *(numbers[name] for name in table["class"])])
    shown = by_id[read(result.folder, "detections.zarr/labels/objects")]
    assert np.array_equal(read(result.folder, "classes.zarr"), shown)
    assert np.array_equal(read(result.folder, "gaba.zarr"), np.where(shown == 3, 255, 0))
    assert np.array_equal(read(result.folder, "non_gaba.zarr"), np.where(shown == 2, 255, 0))


def test_nothing_inside_is_all_edge(sample: SynapseSample, model: tuple[Path, CubeModel], tmp_path: Path) -> None:
    thin = {name: values[:10] for name, values in sample.channels.items()}
    for legacy in (False, True):
        result = run(thin, tmp_path / f"out-{legacy}", NAME, model=model[0], legacy=legacy)
        assert result.objects > 0
        assert set(result.table["class"]) == {"edge"}
        assert not read(result.folder, "gaba.zarr").any()


def test_missing_channels(sample: SynapseSample, model: tuple[Path, CubeModel], tmp_path: Path) -> None:
    some = {name: values for name, values in sample.channels.items() if name not in ("GluN", "TdTomato")}
    with pytest.raises(ChannelError, match="names contain GluN, TdTomato; there are"):
        run(some, tmp_path / "out", NAME, model=model[0])
    assert not (tmp_path / "out").exists()
    assert run(some, tmp_path / "out", NAME, model=model[0], legacy=True).objects > 0
    (tmp_path / "bad.npz").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"bad\.npz"):
        run(sample.channels, tmp_path / "other", NAME, model=tmp_path / "bad.npz")
    assert not (tmp_path / "other").exists()


def test_names_of_volumes() -> None:
    assert volume_names(("non-GABA", "GABA", "class 3")) == {
        1: ("NonGaba", "non_gaba.zarr"),
        2: ("Gaba", "gaba.zarr"),
        3: ("Class3", "class_3.zarr"),
    }
