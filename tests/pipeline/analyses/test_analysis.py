"""The registry and the descriptions that commands, forms and jobs are made from."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline import analyses
from pipeline.errors import AnalysisError, ChannelError, ParameterError

LISTED = ("DAPI", "synapsin_1", "PSD95", "synapsin_2", "GABA", "GAD", "gephyrin", "GluN1", "tdTomato", "vglut")


@dataclass(frozen=True)
class Named:
    digest: str


def test_all_are_described() -> None:
    assert set(analyses.names()) >= {"nomads-classifier", "nomads-unsupervised", "pixel-classification"}
    for name in analyses.names():
        analysis = analyses.get(name)
        assert analysis.name == name
        assert analysis.title
        assert analysis.summary.endswith(".")
        assert all(parameter.help.endswith(".") for parameter in analysis.parameters)
        assert analysis.seconds((64, 512, 512), 2) > analysis.seconds((1, 1, 1), 1) > 0
        large = analysis.memory_bytes((10**4, 10**4, 10**4), "uint16", 4)
        assert analysis.memory_bytes((8, 8, 8), "uint8", 1) < large < 4 << 30


def test_unknown_and_broken_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnalysisError, match=r"no analysis 'nomads-clasifier'.*did you mean nomads-classifier"):
        analyses.get("nomads-clasifier")
    entry = importlib.metadata.EntryPoint("broken", "no_such_module:ANALYSIS", analyses.GROUP)
    other = importlib.metadata.EntryPoint("other", "pipeline.blocks:AXES", analyses.GROUP)
    monkeypatch.setattr(analyses, "_entries", lambda: {"broken": entry, "other": other})
    with pytest.raises(AnalysisError, match="broken cannot be loaded from no_such_module"):
        analyses.get("broken")
    with pytest.raises(AnalysisError, match="is no Analysis of this name"):
        analyses.get("other")


def test_channels_of_detection_and_classification() -> None:
    unsupervised, classifier = analyses.get("nomads-unsupervised"), analyses.get("nomads-classifier")
    assert unsupervised.choose_channels(LISTED) == ("PSD95", "synapsin_1")
    assert unsupervised.choose_channels(LISTED, {"legacy": True}) == ("synapsin_1", "PSD95")
    assert unsupervised.read_channels(LISTED) == LISTED
    assert unsupervised.read_channels(LISTED, {"measure": "needed"}) == ("synapsin_1", "PSD95")
    assert set(LISTED) - set(classifier.choose_channels(LISTED)) == {"DAPI", "synapsin_2"}
    assert classifier.read_channels(LISTED, {"measure": "needed"}) == tuple(
        name for name in LISTED if name not in ("DAPI", "synapsin_2")
    )
    with pytest.raises(ChannelError, match="names contain GAD, TdTomato; there are"):
        classifier.choose_channels([name for name in LISTED if name not in ("GAD", "tdTomato")])
    with pytest.raises(ChannelError, match="psd or synapsin are needed; there are none"):
        unsupervised.choose_channels((), {"legacy": True})


def test_one_channel_is_not_both() -> None:
    unsupervised = analyses.get("nomads-unsupervised")
    assert unsupervised.choose_channels(("PSD_synapsin", "synapsin")) == ("PSD_synapsin", "synapsin")
    with pytest.raises(ChannelError, match="contains synapsin"):
        unsupervised.choose_channels(("PSD_synapsin",))


def test_digest_is_of_data_parameters_and_contents_of_files(tmp_path: Path) -> None:
    classifier = analyses.get("nomads-classifier")
    model = tmp_path / "model.npz"
    model.write_bytes(b"one")
    values = classifier.check_parameters({"model": str(model)})
    first = classifier.digest(Named("a"), values)
    copy = tmp_path / "copy.npz"
    copy.write_bytes(b"one")
    assert classifier.digest(Named("a"), {**values, "model": copy}) == first
    model.write_bytes(b"two")
    digests = {
        first,
        classifier.digest(Named("a"), values),
        classifier.digest(Named("b"), values),
        classifier.digest(Named("a"), {**values, "min_size": 5}),
    }
    assert len(digests) == 4
    with pytest.raises(ParameterError, match="cannot be read"):
        classifier.digest(Named("a"), {**values, "model": tmp_path / "missing"})


def test_descriptions_load_nothing_large() -> None:
    code = (
        "import sys, pipeline.analyses as a\n"
        "for name in a.names(): a.get(name)\n"
        "print([m for m in ('numpy', 'numba', 'zarr', 'dask', 'xarray', 'pandas', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
