"""Servers that many tests share: started once, each with a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config import settings
from tests.servers import SMALL, Server, serving
from tests.web.job_service import SHAPE, START, JobService, make_archive, running

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def _own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what a person's own servers keep out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOXELFOREST_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        settings.cache_clear()
        yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def server_3d(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A volume of (z, y, x) = (37, 40, 38), uint8, with a project of three classes."""
    yield from _serve_golden("pc_3d", "in_3d_u8", "zyx", golden_dir, tmp_path_factory)


@pytest.fixture(scope="session")
def server_t(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A film of (t, y, x) = (3, 40, 44), uint8, with a project of two classes."""
    yield from _serve_golden("pc_t_2d", "in_t_u8", "tyx", golden_dir, tmp_path_factory)


def _serve_golden(
    project: str, raw: str, axes: str, golden_dir: Path, make_folder: pytest.TempPathFactory
) -> Iterator[Server]:
    folder: Callable[[str], Path] = make_folder.mktemp
    home = folder(axes)
    (home / "tmp").mkdir()
    files = golden_dir / "projects" / f"{project}.ilp", golden_dir / f"{raw}.npy"
    with serving(*files, "--axes", axes, folder=home, environment={**SMALL, "TMPDIR": str(home / "tmp")}) as server:
        yield server


@pytest.fixture(scope="session")
def job_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobService]:
    """A server of jobs with its runner, an archive and a mail server."""
    with running(tmp_path_factory.mktemp("service"), make_archive(SHAPE, START)) as found:
        yield found


@pytest.fixture
def captures(request: pytest.FixtureRequest) -> Path:
    """Answers recorded from the old data provider, which this repository does not hold."""
    folder = ROOT.parent / "shared" / "reference" / "backend" / "captures"
    if not folder.is_dir():
        pytest.skip(f"no recorded answers at {folder}")
    return folder


@pytest.fixture
def fresh_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings are read anew in the test, and after it; the data folder is one of the test's."""
    monkeypatch.setenv("VOXELFOREST_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch, fresh_settings: None) -> None:
    """So small that a little volume has several."""
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
