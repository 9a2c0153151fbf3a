"""Texts that a command line, a form, an address or a key brings."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from pipeline.axes import ORDER
from pipeline.blocks import Box
from pipeline.clusters.workers import parse_workers
from pipeline.config import Settings, settings
from pipeline.jobs import links
from pipeline.jobs.address import check_address
from pipeline.jobs.fields import parse_range
from pipeline.jobs.form import FIELDS, parse_request
from pipeline.jobs.store import JobStore
from pipeline.region import parse_region
from tests.archive_server import serving
from tests.fuzz.reader import Read, Reader, reading, refusal_of
from tests.job_service import environment, make_submission
from tests.web.job_desk import fields, make_archive
from tests.web.test_jobs_hostile import TEXTS
from web.boxes import parse_box
from web.chunk_keys import parse_numbers
from web.errors import HttpError

WHOLE = Box.whole((3, 20, 30, 40))
SHAPE = {"t": 3, "x": 40, "y": 30, "z": 20, "c": 2}
SETTINGS = tuple(Settings.model_fields)


def written_like(alphabet: str) -> st.SearchStrategy[str]:
    """Texts, most of them of few letters that mean something."""
    return st.one_of(st.text(alphabet, max_size=24), st.text(max_size=24), TEXTS)


BOXES = st.tuples(written_like("0123456789_-"), written_like("0123456789_-"))
RANGES = st.tuples(st.integers(-1, 25), st.integers(0, 25)).map(lambda ends: f"{ends[0]}, {ends[1]}")
FORMS = st.dictionaries(st.sampled_from(FIELDS), TEXTS | RANGES, min_size=1, max_size=3)
SET = st.tuples(st.sampled_from(SETTINGS), written_like("0123456789.eKMGTiB-"))


@contextlib.contextmanager
def _forms(folder: Path) -> Iterator[Read]:
    """The form, an archive with the channels that the analysis needs being there."""
    with serving(make_archive()) as archive, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(folder, archive).items():
            patch.setenv(name, value)
        settings.cache_clear()
        yield lambda changes: refusal_of(lambda: parse_request({**fields(), **changes}))
    settings.cache_clear()


@contextlib.contextmanager
def _links(folder: Path) -> Iterator[Read]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOXELFOREST_SECRET_KEY", "a key of many letters")
        patch.setenv("VOXELFOREST_DATA_DIR", str(folder))
        settings.cache_clear()
        store = JobStore()
        store.create(make_submission())
        with store.connect() as connection:
            yield lambda text: refusal_of(lambda: links.check(connection, text))
    settings.cache_clear()


@contextlib.contextmanager
def _settings(folder: Path) -> Iterator[Read]:
    def read(one: tuple[str, str]) -> str | None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(f"VOXELFOREST_{one[0].upper()}", one[1].replace("\0", ""))
            settings.cache_clear()
            return refusal_of(settings)

    yield read
    settings.cache_clear()


def _old_box(pair: tuple[str, str]) -> None:
    parse_box({"extents_min": pair[0], "extents_max": pair[1]}, SHAPE)


_PLAIN: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], object], tuple[type[Exception], ...]]] = {
    "--roi": (written_like("zyxt=:,0123456789-"), lambda text: parse_region(text, WHOLE, ORDER), ()),
    "--workers": (written_like("0123456789."), parse_workers, ()),
    "range of the form": (written_like("0123456789, -"), parse_range, (ValueError,)),
    "address of a mail": (written_like("ab@.-<>, "), check_address, (ValueError,)),
    "box of the old routes": (BOXES, _old_box, (HttpError,)),
    "key of a chunk": (written_like("0123456789/._c-"), parse_numbers, ()),
}

READERS = (
    *(Reader(name, inputs, reading(read, *more)) for name, (inputs, read, more) in _PLAIN.items()),
    Reader("form", FORMS, _forms, 2),
    Reader("signed link", written_like("abcdef0123456789.-_~"), _links),
    Reader("setting", SET, _settings, 2),
)
