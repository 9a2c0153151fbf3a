"""Every error that the package raises on purpose.

::

    PipelineError                 exit code 1
    ├── VolumeError               2   an input volume cannot be opened as asked
    │   └── ReadError             1   its data turned out damaged while it was read
    ├── ProjectError              2   an ilastik project cannot be used; `code` says why
    ├── ModelError                2   a classifier's file cannot be used; `code` says why
    ├── PlanError                 2   data, project and request do not fit each other
    ├── StoreError                2   an output cannot be created as asked
    │   └── WriteError            1   writing failed on the way (disk full, lost access)
    ├── AnalysisError             2   an analysis cannot be done as asked
    │   ├── ChannelError          2   a channel is missing, ambiguous, or holds nothing to analyse
    │   └── ParameterError        2   a parameter is unknown or has a value that is not allowed
    ├── ArchiveError              2   a volume archive refuses what it was asked for, or answers what it should not
    │   ├── TokenError            2   there is no token, or it does not allow this
    │   ├── UnknownVolumeError    2   the archive has no collection, experiment or channel of this name
    │   └── TransientArchiveError 1   it did not answer properly, however often it was asked
    ├── ClusterError              1   a scheduler or its workers cannot be used
    ├── CatalogueError            2   what is to be served is not described as allowed
    ├── RequestError              2   a request to served volumes cannot be answered
    │   ├── UnknownError          2   no volume, layer, project or level of this name
    │   ├── GoneError             2   there may have been such a layer; it is not served now
    │   ├── ConflictError         2   something has to be done before this can be answered
    │   ├── RegionError           2   the region is empty or lies outside
    │   ├── TooLargeError         2   more was asked for than one request may
    │   ├── BusyError             1   too much is being done; `retry_after` says when to ask again
    │   ├── AbandonedError        1   nobody waits for the answer any more
    │   └── FormError             2   fields of a form do not say what could be done; `errors` by field
    ├── SupersededError           1   another runner has this job, or it has ended
    ├── MissingExtraError         2   an optional dependency is not installed
    └── CancelledError            130 somebody interrupted the work

A message is one sentence or two: what was given, what is allowed, what to do. The command line prints it without
a traceback and leaves with `exit_code`; the web layer maps classes to statuses. What was given may be anything: where a
message repeats it, it still is one line that ends.
"""

from __future__ import annotations

from collections.abc import Mapping

SHOWN = 1500, 400  # characters of a message that would be longer: of its beginning, and of its end with the advice


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
        message = one_line(message) if not message.isprintable() else message
        if len(message) > sum(SHOWN):
            message = f"{message[: SHOWN[0]]} ... {message[-SHOWN[1] :]}"
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


class ModelError(PipelineError):
    """A classifier's file cannot be used.

    Its `code` is one of ``not_npz`` (unreadable), ``too_large``, ``bad_model`` (contents that are no classifier),
    ``bad_pickle`` (a pickle that is not the one of a forest).
    """

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


class AnalysisError(PipelineError):
    """An analysis cannot be done as asked."""

    exit_code = 2


class ChannelError(AnalysisError):
    """A channel is missing, or holds nothing that could be analysed; the message lists what there is."""


class ParameterError(AnalysisError):
    """Parameters of an analysis are unknown or have values that are not allowed.

    Parameters
    ----------
    reasons : mapping of str to str
        Why each of them is refused, by its name.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in reasons.items()), "parameter")
        self.reasons = dict(reasons)

    def __reduce__(self) -> tuple[type[ParameterError], tuple[dict[str, str]]]:
        return type(self), (self.reasons,)


class ArchiveError(PipelineError):
    """A volume archive refuses what it was asked for, or answers what it should not; never holds the token."""

    exit_code = 2


class TokenError(ArchiveError):
    """There is no token for the archive, or it does not allow this.

    Its `code` is one of ``no_token``, ``bad_token`` (not a token, not known to the archive, or expired) and
    ``forbidden`` (known, but without the right to do this).
    """


class UnknownVolumeError(ArchiveError):
    """The archive has no collection, experiment or channel of this name."""


class TransientArchiveError(ArchiveError):
    """The archive did not answer properly, however often it was asked; asking later may help."""

    exit_code = 1


class ClusterError(PipelineError):
    """A scheduler or its workers cannot be used."""


class CatalogueError(PipelineError):
    """The volumes and projects to be served are not described as allowed."""

    exit_code = 2


class RequestError(PipelineError):
    """A request to served volumes cannot be answered."""

    exit_code = 2


class UnknownError(RequestError):
    """There is no volume, layer, project or level of this name; the message lists what there is."""


class GoneError(RequestError):
    """A well-formed digest that is not served now: data, project or settings have changed."""


class ConflictError(RequestError):
    """Something has to be done before this can be answered; the message says what."""


class RegionError(RequestError):
    """The region asked for is empty or reaches out of the data."""


class TooLargeError(RequestError):
    """One request asks for more than one request may; the message says how much that is."""


class BusyError(RequestError):
    """Too much is being done already.

    Parameters
    ----------
    message : str
    code : {"busy", "bulk"}
        Whether the whole server is at its limit, or only what it sets aside for bulk reads.
    retry_after : float
        Seconds after which asking again is worth while.
    """

    exit_code = 1

    def __init__(self, message: str, code: str | None = "busy", retry_after: float = 1.0) -> None:
        super().__init__(message, code)
        self.retry_after = retry_after


class AbandonedError(RequestError):
    """Nobody waits for the answer any more, so the work was given up."""

    exit_code = 1


class FormError(RequestError):
    """Fields of a form do not say what could be done.

    Parameters
    ----------
    errors : mapping of str to str
        What is wrong with each of them, by its name; no secret is repeated.
    """

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in errors.items()), "form")
        self.errors = dict(errors)

    def __reduce__(self) -> tuple[type[FormError], tuple[dict[str, str]]]:
        return type(self), (self.errors,)


class SupersededError(PipelineError):
    """Another runner has this job by now, or it has ended: what this one finds out does not count."""


class MissingExtraError(PipelineError):
    """An optional dependency is not installed; the message names the extra."""

    exit_code = 2


class CancelledError(PipelineError):
    """Somebody interrupted the work; nothing finished is lost."""

    exit_code = 130


def one_line(text: str) -> str:
    """Text from anywhere on one line, without control characters that a terminal would obey.

    Examples
    --------
    >>> one_line("a class\\n  named \\x1b[31mred")
    'a class named �[31mred'
    """
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Text with a replacement for each control character."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
