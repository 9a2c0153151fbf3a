"""A copy of the tree in which one source after the other is changed, and the tests that are run there."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.mutants.areas import ROOT, Mutant

COPIED = ("numba_ops", "pipeline", "web", "tests", "docs", "pyproject.toml", "setup.cfg")
LEAST_SECONDS = 90.0  # that a mutant's tests may take, whatever they took before
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
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
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
            self._run([*sorted(files), f"--junitxml={report}"], self._environment("kernels"), None)
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
                ended = self._run([*files, "-x", *deselected], environment, max(LEAST_SECONDS, 4 * usual))
                by = _first_failure(ended)
                outcome = "survived" if ended.returncode == 0 else "caught"
            except subprocess.TimeoutExpired as expired:
                outcome, by = "caught", f"no end after {expired.timeout:.0f} s"
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

    def _environment(self, kernels: str) -> dict[str, str]:
        here = {"PYTHONPATH": str(self.tree), "NUMBA_CACHE_DIR": str(self.folder / kernels)}
        # A source changed twice within a second would be taken for the one that was compiled first.
        return {**os.environ, **here, "PYTHONDONTWRITEBYTECODE": "1"}

    def _prepare_kernels(self, module: str, environment: dict[str, str]) -> None:
        """Compiled kernels for a mutated source: all but those of the module and of whatever imports it."""
        shutil.rmtree(environment["NUMBA_CACHE_DIR"], ignore_errors=True)
        code = "from numba_ops._jit import CACHE_FOLDER; print(CACHE_FOLDER)"
        found = subprocess.run(
            [sys.executable, "-c", code], cwd=self.tree, env=environment, capture_output=True, text=True, check=True
        )
        (sound,) = (self.folder / "kernels").glob("kernels-*")
        stale = _dependents(module, self.tree / "numba_ops")
        shutil.copytree(
            sound,
            found.stdout.strip(),
            dirs_exist_ok=True,
            ignore=lambda _, names: [name for name in names if name.partition(".")[0] in stale],
        )

    def _run(
        self, arguments: list[str], environment: dict[str, str], limit: float | None
    ) -> subprocess.CompletedProcess[str]:
        """Run pytest; whatever it has started ends with it."""
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *arguments]
        process = subprocess.Popen(
            command,
            cwd=self.tree,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES)),
        )
        started = psutil.Process(process.pid)
        try:
            out, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            for child in started.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            raise
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return subprocess.CompletedProcess(command, process.returncode, out, "")


def _first_failure(ended: subprocess.CompletedProcess[str]) -> str:
    """What ended the tests."""
    if ended.returncode == 0:
        return ""
    if found := FAILED.search(ended.stdout):
        return found[1]
    return f"signal {-ended.returncode}" if ended.returncode < 0 else f"exit code {ended.returncode}"


def _dependents(module: str, package: Path) -> set[str]:
    """A module of numba_ops and all that import it, be it by way of others."""
    imported = {
        path.stem: {
            node.module.rpartition(".")[2]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numba_ops")
        }
        for path in package.glob("*.py")
    }
    found = {module}
    while more := {name for name, used in imported.items() if used & found} - found:
        found |= more
    return found
