"""What Dask knows about a run as one page: its tasks over time, their profile, memory and transfers of the workers."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from distributed import Client, performance_report

from pipeline.clusters.terms import Tell
from pipeline.console import one_line
from pipeline.durability import TEMPORARY, publish_file
from pipeline.errors import MissingExtraError, StoreError


def check_report(path: str | os.PathLike[str]) -> None:
    """See that a report can be drawn, and written.

    Raises
    ------
    StoreError
        If its name is not that of a page in a folder that can be written.
    MissingExtraError
        If what draws it is not installed.
    """
    folder = Path(path).absolute().parent
    if Path(path).suffix != ".html" or Path(path).is_dir() or not os.access(folder, os.W_OK):
        raise StoreError(f"--performance-report {path}: it is a page, NAME.html, in a folder that can be written")
    if importlib.util.find_spec("bokeh") is None:
        raise MissingExtraError("--performance-report needs bokeh: pip install 'voxelforest[dashboard]'")


@contextlib.contextmanager
def reported(client: Client, path: str | os.PathLike[str], tell: Tell) -> Iterator[None]:
    """Write the report when the context ends, also by an error; an older one is replaced.

    An interrupted run is not made to wait for it. One whose scheduler has gone, or has no bokeh, cannot have it: that
    is told, and fails no run.
    """
    target = Path(path).absolute()
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}{TEMPORARY}")
    report = performance_report(filename=str(temporary), mode="inline")  # a page that needs nothing from elsewhere
    with client.as_current():
        report.__enter__()
    try:
        yield
    except Exception:
        _finish(client, report, temporary, target, tell)
        raise
    _finish(client, report, temporary, target, tell)


def _finish(client: Client, report: performance_report, temporary: Path, target: Path, tell: Tell) -> None:
    try:
        with client.as_current():
            report.__exit__(None, None, None)
        publish_file(temporary, target)
    except Exception as error:
        tell(f"there is no performance report: {one_line(str(error) or type(error).__name__)}")
    else:
        tell(f"what Dask saw of the run: {target}")
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
