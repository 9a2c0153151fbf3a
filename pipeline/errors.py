"""Every error that the package raises on purpose.

::

    PipelineError                 exit code 1
    ├── VolumeError               2   an input volume cannot be opened as asked
    │   └── ReadError             1   its data turned out damaged while it was read
    ├── ProjectError              2   an ilastik project cannot be used; `code` says why
    ├── PlanError                 2   data, project and request do not fit each other
    ├── StoreError                2   an output cannot be created as asked
    │   └── WriteError            1   writing failed on the way (disk full, lost access)
    ├── ClusterError              1   a scheduler or its workers cannot be used
    ├── MissingExtraError         2   an optional dependency is not installed
    └── CancelledError            130 somebody interrupted the work

A message is one sentence or two: what was given, what is allowed, what to do. The command line prints it without
a traceback and leaves with `exit_code`; the web layer maps classes to statuses.
"""

from __future__ import annotations


class PipelineError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    message : str
        What was given, what is allowed, what to do.
    code : str, optional
        Stable word for programs; the codes of projects are those of SEMANTICS section 11.
    """

    exit_code = 1

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]" if self.code else self.message


class VolumeError(PipelineError):
    """An input volume cannot be opened as asked."""

    exit_code = 2


class ReadError(VolumeError):
    """The data of a volume turned out damaged or unreachable while it was read."""

    exit_code = 1


class ProjectError(PipelineError):
    """An ilastik project cannot be used; `code` is one of SEMANTICS section 11."""

    exit_code = 2


class PlanError(PipelineError):
    """Data, project and request do not fit each other, or not into memory."""

    exit_code = 2


class StoreError(PipelineError):
    """An output cannot be created as asked."""

    exit_code = 2


class WriteError(StoreError):
    """Writing an output failed on the way."""

    exit_code = 1


class ClusterError(PipelineError):
    """A scheduler or its workers cannot be used."""


class MissingExtraError(PipelineError):
    """An optional dependency is not installed; the message names the extra."""

    exit_code = 2


class CancelledError(PipelineError):
    """Somebody interrupted the work; nothing finished is lost."""

    exit_code = 130
