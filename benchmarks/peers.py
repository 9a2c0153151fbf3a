"""The peers, each behind a few calls: vigra in its own process, scikit-image with scikit-learn, SciPy."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.cases import Case, annotate, image
from pipeline.features import FeatureSelection

Array = npt.NDArray[Any]
WORKER = Path(__file__).with_name("vigra_worker.py")
PYTHONS = ("/usr/bin/python3", "python3")


@functools.cache
def find_vigra() -> str | None:
    """A Python that imports vigra: the system's own, since vigra is not on the package index."""
    for python in PYTHONS:
        with contextlib.suppress(FileNotFoundError, subprocess.TimeoutExpired):
            found = subprocess.run([python, "-c", "import vigra"], capture_output=True, timeout=60, check=False)
            if found.returncode == 0:
                return python
    return None


def has_scikit_image() -> bool:
    """Whether scikit-image is installed: the extra ``bench``."""
    return importlib.util.find_spec("skimage") is not None


class Vigra:
    """A process that computes with vigra on request; its seconds are those it measures itself."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.version = self._answer()["version"]

    def ask(self, do: str, **request: Any) -> float:
        """Have something done; see `benchmarks.vigra_worker` for what there is. Gives seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        return float(self._answer()["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process with vigra ended; what it said stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def open_vigra(cores: Sequence[int]) -> Iterator[Vigra | None]:
    """A process with vigra on these cores, or None where there is no vigra."""
    python = find_vigra()
    if python is None:
        yield None
        return
    command = [python, str(WORKER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            vigra = Vigra(process)
            vigra.ask("pin", cores=list(cores))
            yield vigra
        finally:
            process.kill()


def list_features(selection: FeatureSelection, depth: int) -> list[tuple[str, float, bool]]:
    """Feature, scale and whether in 2-D, in the order of the forest's columns."""
    flags = selection.in_2d(depth)
    return [
        (name, scale, flags[j])
        for name, row in zip(selection.ids, selection.matrix, strict=True)
        for j, scale in enumerate(selection.scales)
        if row[j]
    ]


class ScikitPipeline:
    """scikit-image's features and scikit-learn's forest, as Python users write it; trained on the same annotations.

    Parameters
    ----------
    case : Case
        Its number of columns is met as nearly as scikit-image's features go, from below.
    training : ndarray, (c, z, y, x)
        The image that the annotations lie on.
    jobs : int
        Threads.
    """

    def __init__(self, case: Case, training: Array, jobs: int) -> None:
        from sklearn.ensemble import RandomForestClassifier

        ours = case.features.n_columns(1, 1 if case.in_2d else 2)
        self._sigmas = max(ours // (4 if case.in_2d else 5), 2)
        self._largest = max(case.features.scales[j] for j in case.features.used_scales)
        self._case, self._jobs = case, jobs
        labels, _ = annotate(case)
        rows = self.compute_features(training).reshape(labels.size, -1)[labels.reshape(-1) > 0]
        self.columns = rows.shape[1]
        self._model = RandomForestClassifier(100, max_features="sqrt", random_state=0, n_jobs=jobs)
        self._model.fit(rows, labels[labels > 0])

    @classmethod
    def of(cls, case: Case, jobs: int) -> ScikitPipeline:
        """Trained on the image that our own project is trained on."""
        labels, _ = annotate(case)
        return cls(case, image(case, labels.shape), jobs)

    def compute_features(self, raw: Array) -> Array:
        """Features of an image (c, z, y, x), columns last."""
        from skimage.feature import multiscale_basic_features

        stored = self._case.stored(raw)
        found: Array = multiscale_basic_features(
            stored,
            sigma_min=0.3,
            sigma_max=self._largest,
            num_sigma=self._sigmas,
            workers=self._jobs,
            channel_axis=0 if "c" in self._case.dims else None,
        )
        return found

    def predict(self, raw: Array) -> float:
        """Classes of a whole image in memory; gives seconds."""
        started = time.perf_counter()
        features = self.compute_features(raw)
        self._model.predict_proba(features.reshape(-1, self.columns))
        return time.perf_counter() - started


def fit_sklearn(rows: Array, labels: Array, jobs: int) -> Any:
    """A forest like `pipeline.training` fits it."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, max_features="sqrt", random_state=0, n_jobs=jobs).fit(rows, labels)


def smooth_scipy(raw: Array, sigma: float, window: float) -> Array:
    """SciPy's Gaussian over one channel, cut off at `window` deviations, edges mirrored as ours."""
    from scipy.ndimage import gaussian_filter

    found: Array = gaussian_filter(raw.astype(np.float32), sigma, truncate=window, mode="mirror")
    return found
