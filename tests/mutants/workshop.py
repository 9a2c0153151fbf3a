"""A copy of the tree in which one source after the other is changed, and the tests that are run there."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numba
import psutil
import pytest

from numba_ops import _jit
from tests.mutants.areas import ROOT, Mutant

# What tests import from elsewhere.
LIBRARIES = (
    *(
        "dask.array",
        "distributed",
        "flask",
        "h5py",
        "hypothesis.strategies",
        "numcodecs",
        "pandas",
        "PIL.Image",
        "rich",
    ),
    *("pydantic_settings", "scipy.ndimage", "sklearn.ensemble", "tifffile", "typer", "werkzeug.test", "xarray", "zarr"),
)
COPIED = ("numba_ops", "pipeline", "web", "tests", "docs", "pyproject.toml", "setup.cfg")
LEAST_SECONDS = 30.0  # of a core, that a mutant's tests may take, whatever they took before
LONGEST_TEST = 120  # seconds; a mutant may wait for what never comes
PATIENCE = 6  # times as long in all: other programs may have the cores
BROKEN = 70  # exit code where pytest did not even begin
MOST_BYTES = 12 << 30  # of address space: a mutant may ask for anything
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Verdict:
    """How the tests took a mutant.

    Parameters
    ----------
    outcome : {"caught", "survived"}
    by : str
        The test that failed first, or how the process ended.
    seconds : float
    """

    outcome: str
    by: str
    seconds: float


class Ended(NamedTuple):
    """Exit code, below 0 for a signal, and what pytest said."""

    code: int
    said: str


class Workshop:
    """The copy, with compiled kernels of its own.

    Parameters
    ----------
    folder : Path
        Made anew.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self._seconds: dict[str, float] = {}
        self._failing: list[str] = []
        shutil.rmtree(self.tree, ignore_errors=True)
        for name in COPIED:
            source, target = ROOT / name, self.tree / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis", "mutants"))
            else:
                shutil.copy2(source, target)

    def measure(self, files: Iterable[str]) -> list[str]:
        """Run test files as they are, which compiles all kernels, and note how long each takes.

        What was noted for these very sources is taken as it is.

        Returns
        -------
        list of str
            Tests that fail without any mutation, on a busy machine say: they are not asked about mutants.
        """
        report = self.folder / f"sound-{self._digest()}.xml"
        if not report.exists():
            self._run([*sorted(files), f"--junitxml={report}"], self._environment("kernels", keep=True), None)
        for case in ET.parse(report).iter("testcase"):
            file = case.attrib["classname"].replace(".", "/") + ".py"
            self._seconds[file] = self._seconds.get(file, 0.0) + float(case.attrib["time"])
            if any(child.tag in ("failure", "error") for child in case):
                self._failing.append(f"{file}::{case.attrib['name']}")
        return self._failing

    def judge(self, mutant: Mutant) -> Verdict:
        """Run a mutant's tests, the quickest file first."""
        files = sorted(mutant.target.test_files, key=lambda file: self._seconds.get(file, 0.0))
        usual = sum(self._seconds.get(file, 0.0) for file in files)
        began = time.monotonic()
        with self._changed(mutant):
            environment = self._environment("kernels")
            if mutant.target.is_compiled:
                environment = self._environment("mutant")
                self._prepare_kernels(mutant.target.path.stem, environment)
            try:
                deselected = [f"--deselect={name}" for name in self._failing]
                ended = self._run([*files, "-x", *deselected], environment, max(LEAST_SECONDS, usual))
                by = _first_failure(ended)
                outcome = "survived" if ended.code == 0 else "caught"
            except TimeoutError as error:
                outcome, by = "caught", str(error)
        return Verdict(outcome, by, round(time.monotonic() - began, 1))

    def _digest(self) -> str:
        """Of the sources and the tests."""
        digest = hashlib.sha256()
        for path in sorted(self.tree.rglob("*.py")):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    @contextmanager
    def _changed(self, mutant: Mutant) -> Iterator[None]:
        target, source = self.tree / mutant.target.path, ROOT / mutant.target.path
        target.write_text(mutant.mutation.apply(source.read_text()))
        try:
            yield
        finally:
            shutil.copy2(source, target)  # with its time: what is compiled of it is found by that

    def _environment(self, kernels: str, keep: bool = False) -> dict[str, str]:
        here = {"PYTHONPATH": str(self.tree), "NUMBA_CACHE_DIR": str(self.folder / kernels)}
        # A source changed twice within a second would be taken for the one that was compiled first.
        return here if keep else {**here, "PYTHONDONTWRITEBYTECODE": "1"}

    def _prepare_kernels(self, module: str, environment: dict[str, str]) -> None:
        """Compiled kernels for a mutated source: all but those of the module and of whatever imports it."""
        shutil.rmtree(environment["NUMBA_CACHE_DIR"], ignore_errors=True)
        numba.config.CACHE_DIR = environment["NUMBA_CACHE_DIR"]
        _jit.__file__ = str(self.tree / "numba_ops" / "_jit.py")
        (sound,) = (self.folder / "kernels").glob("kernels-*")
        stale = _dependents(module, self.tree / "numba_ops")
        shutil.copytree(
            sound,
            _jit.cache_folder(),
            ignore=lambda _, names: [name for name in names if name.partition(".")[0] in stale],
        )

    def _run(self, arguments: list[str], environment: dict[str, str], limit: float | None) -> Ended:
        """Run pytest in a fork, which has all libraries already; whatever it has started ends with it.

        Raises
        ------
        TimeoutError
        """
        log = self.folder / "pytest.log"
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(_test(self.tree, arguments, environment, log))
            except BaseException:
                traceback.print_exc()
                os._exit(BROKEN)
        process, began = psutil.Process(pid), time.monotonic()
        try:
            while (status := os.waitpid(pid, os.WNOHANG))[0] == 0:
                waited = time.monotonic() - began
                if limit is not None and waited > limit and (waited > PATIENCE * limit or _used(process) > limit):
                    raise TimeoutError(f"no end after {limit:.0f} s of a core")
                time.sleep(0.05)
            ended = Ended(os.waitstatus_to_exitcode(status[1]), log.read_text(errors="replace"))
            assert ended.code != BROKEN, f"the tests could not be run at all:\n{ended.said}"
            return ended
        except TimeoutError:
            for child in [*process.children(recursive=True), process]:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            os.waitpid(pid, 0)
            raise
        finally:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _used(process: psutil.Process) -> float:
    """Seconds of a core that a process, and those that it has started, have had."""
    used = 0.0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            used += sum(one.cpu_times()[:4])  # its own, and that of those which have ended
    return used


def preload() -> None:
    """Import what tests import from elsewhere, so that forks need not; none of our own packages."""
    for plugin in importlib.metadata.entry_points(group="pytest11"):
        plugin.load()
    for name in LIBRARIES:
        importlib.import_module(name)


def _test(tree: Path, arguments: list[str], environment: dict[str, str], log: Path) -> int:
    """In a fork: be a process of the copy, and run pytest there."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(tree)
    os.environ.update(environment)
    numba.config.CACHE_DIR = environment["NUMBA_CACHE_DIR"]
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in environment
    for name in [name for name in sys.modules if name.partition(".")[0] in COPIED]:
        del sys.modules[name]  # that of the copy is taken
    sys.path[:] = [str(tree), *(path for path in sys.path if Path(path).resolve() not in (ROOT, Path.cwd()))]
    importlib.invalidate_caches()
    loaded = "ignore::pytest.PytestAssertRewriteWarning"  # plugins are, already
    options = ["-q", "--no-header", "-p", "no:cacheprovider", f"--timeout={LONGEST_TEST}", "-W", loaded]
    return int(pytest.main([*options, *arguments]))


def _first_failure(ended: Ended) -> str:
    """What ended the tests."""
    if ended.code == 0:
        return ""
    if found := FAILED.search(ended.said):
        return found[1]
    return f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"


def _dependents(module: str, package: Path) -> set[str]:
    """A module of numba_ops and all that import it, be it by way of others."""
    imported = {
        path.stem: {
            (node.module or "").rpartition(".")[2]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numba_ops")
        }
        for path in package.glob("*.py")
    }
    found = {module}
    while more := {name for name, used in imported.items() if used & found} - found:
        found |= more
    return found
