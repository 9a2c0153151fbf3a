"""What is fed: something that reads, and inputs for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from pipeline.errors import PipelineError

MIB = 1 << 20
Read = Callable[[Any], str | None]


@dataclass(frozen=True)
class Reader:
    """Something that reads what strangers send.

    Parameters
    ----------
    name : str
    inputs : SearchStrategy
    prepare : callable
        Takes a folder; a context in which there is a function that reads one input and returns why it is refused, None
        if it is not. Whatever else that raises is a finding.
    share : int
        How many inputs it gets, others having as many as theirs.
    most_bytes : callable
        Memory that one input may cost at its peak; asked where it is fed.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    prepare: Callable[[Path], AbstractContextManager[Read]]
    share: int = 1
    most_bytes: Callable[[], int] = lambda: 256 * MIB


def refusal_of(call: Callable[[], object], *more: type[Exception]) -> str | None:
    """Why a call is refused, None if it is not; `more` are refusals besides those of the pipeline."""
    refusals: tuple[type[Exception], ...] = (PipelineError, *more)
    try:
        call()
    except refusals as error:
        return str(error)
    return None


def reading(read: Callable[[Any], object], *more: type[Exception]) -> Callable[[Path], AbstractContextManager[Read]]:
    """For readers that need nothing to be there."""

    @contextlib.contextmanager
    def prepare(folder: Path) -> Iterator[Read]:
        yield lambda one: refusal_of(lambda: read(one), *more)

    return prepare
