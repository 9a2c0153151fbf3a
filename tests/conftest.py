"""What tests of all packages share: golden data, third-party data and tools that may be absent, Hypothesis profiles."""

from __future__ import annotations

import functools
import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

ROOT = Path(__file__).parents[1]
# Its assertions explain themselves like those of any test module; said before anything imports it.
pytest.register_assert_rewrite("tests.pipeline.formats.contract")

# "ci" is short and the same on every run; "full" searches: pytest --hypothesis-profile=full
# A busy machine is no failure: neither an example's time nor that of drawing it counts.
patient = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("ci", patient, max_examples=25, derandomize=True)
hypothesis.settings.register_profile("full", patient, max_examples=500)
hypothesis.settings.load_profile("ci")


@pytest.fixture(scope="session", autouse=True)
def _scratch_dir(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What runs keep of volumes behind URLs does not stay in the home folder."""
    os.environ.setdefault("VOXELFOREST_SCRATCH_DIR", str(tmp_path_factory.mktemp("chunks")))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require",
        default="",
        metavar="NAMES",
        help="what must be here: vigra, reference; a test that lacks one of these fails instead of being skipped",
    )


def _miss(request: pytest.FixtureRequest, name: str, reason: str) -> None:
    """Skip the test, or fail it if `name` was required on the command line."""
    if name in request.config.getoption("--require").split(","):
        pytest.fail(f"--require={name}: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Small inputs and the answers of ilastik and vigra to them; tests/golden/README.md says how they were made."""
    return ROOT / "tests" / "golden"


@pytest.fixture
def ilastik_dir(request: pytest.FixtureRequest) -> Path:
    """Real projects and volumes of ilastik's own tests, which this repository may not hold."""
    given = os.environ.get("VOXELFOREST_REFERENCE")
    folder = Path(given) if given else ROOT.parent / "shared" / "reference" / "ilastik"
    if not folder.is_dir():
        _miss(request, "reference", f"no third-party data at {folder}; VOXELFOREST_REFERENCE names another place")
    return folder


@pytest.fixture
def nomads_dir(request: pytest.FixtureRequest) -> Path:
    """The published synapse classifier and the answers of a plain reference, which this repository may not hold."""
    given = os.environ.get("VOXELFOREST_REFERENCE")
    beside = Path(given).parent if given else ROOT.parent / "shared" / "reference"
    folder = beside / "nomads"
    if not folder.is_dir():
        _miss(request, "reference", f"no synapse reference at {folder}; VOXELFOREST_REFERENCE names a folder beside it")
    return folder


@functools.cache
def _find_vigra() -> str | None:
    """A Python that imports vigra; the system's own, since vigra is not on the package index."""
    for python in ("/usr/bin/python3", "python3"):
        try:
            found = subprocess.run([python, "-c", "import vigra"], capture_output=True, timeout=60, check=False)
        except FileNotFoundError:
            continue
        if found.returncode == 0:
            return python
    return None


@pytest.fixture
def vigra_python(request: pytest.FixtureRequest) -> str:
    """Path of a Python that has vigra, for running a script in."""
    python = _find_vigra()
    if python is None:
        _miss(request, "vigra", "no Python with vigra here: apt-get install python3-vigra")
    assert python is not None
    return python


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail the test if it leaves files open or processes running."""
    process = psutil.Process()
    files_before = {file.path for file in process.open_files()}
    children_before = set(process.children(recursive=True))
    yield
    gc.collect()
    children = [child for child in process.children(recursive=True) if child not in children_before]
    # Python's helper of multiprocessing lives as long as this process does.
    children = [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]
    _, running = psutil.wait_procs(children, timeout=5)
    assert running == []
    assert {file.path for file in process.open_files()} - files_before == set()
