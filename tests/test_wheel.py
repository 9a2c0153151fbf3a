"""The built wheel, in a clean environment, has what the source tree has: commands, pages, types, analyses."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _run(*words: object, folder: Path | None = None, **environment: str) -> str:
    texts, environ = [str(word) for word in words], {**os.environ, **environment}
    done = subprocess.run(texts, env=environ, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what is tracked, so that nothing that lies about in the tree gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        f"git -C {ROOT} ls-files -z | tar -C {ROOT} --null -T - -cf - | tar -C {folder} -xf -", shell=True, check=True
    )
    build = ("--no-deps", "--quiet", "--wheel-dir", folder / "built", folder)
    _run(sys.executable, "-m", "pip", "wheel", *build)
    [path] = (folder / "built").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Where its commands lie, and how to call them: the libraries it needs are borrowed, since they are gigabytes."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    site = next((folder / "lib").glob("python*/site-packages"))
    _run(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--no-deps", "--quiet", wheel)
    assert (site / "pipeline").is_dir()
    # An editable install beside these libraries stays unseen: it works by .pth files, which PYTHONPATH does not read.
    return folder / "bin", {"PYTHONPATH": sysconfig.get_path("purelib")}


def test_wheel_holds_all_of_the_packages_and_nothing_else(wheel: Path) -> None:
    tracked = _run("git", "-C", ROOT, "ls-files", "numba_ops", "pipeline", "web").split()
    assert {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info" not in name} == set(tracked)


def test_commands_of_the_installed_wheel_run(installed: tuple[Path, dict[str, str]], golden_dir: Path) -> None:
    folder, environment = installed
    command, python = folder / "voxelforest", folder / "python"
    where = _run(
        python, "-c", "import pipeline, web; print(pipeline.__file__, web.__file__)", folder=folder, **environment
    )
    assert str(folder.parent) in where.split()[0]
    assert "serve" in _run(command, "--help", folder=folder, **environment)
    assert "Forest" in _run(command, "info", golden_dir / "projects" / "pc_3d.ilp", folder=folder, **environment)
    listed = _run(python, "-c", "from pipeline import analyses; print(*analyses.names())", folder=folder, **environment)
    assert "nomads-unsupervised" in listed.split()
