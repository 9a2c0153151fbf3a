"""The form for a job as fields: the original's eight, and the parameters of each pipeline in the registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from werkzeug.datastructures import MultiDict

from pipeline.analyses.analysis import Analysis
from pipeline.analyses.parameter import Parameter
from pipeline.errors import FormError
from pipeline.jobs.form import SHOWN

ACTION = "action"  # which button was pressed; no field of the request
SECRET = "token"


@dataclass(frozen=True)
class Field:
    """A field of the form.

    Parameters
    ----------
    name, label, help : str
    kind : str
        Type of an HTML input, or ``select``.
    value : str
        What it is filled with.
    choices : sequence of (value, text)
        Of a ``select``.
    error : str, optional
        What is wrong with what was given.
    required : bool
    limits : mapping
        Further attributes of the input.
    """

    name: str
    label: str
    help: str
    kind: str = "text"
    value: str = ""
    choices: Sequence[tuple[str, str]] = ()
    error: str | None = None
    required: bool = True
    limits: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Group:
    """The parameters of one pipeline."""

    pipeline: str
    title: str
    help: str
    fields: Sequence[Field]


def make_fields(
    analyses: Mapping[str, Analysis], given: Mapping[str, str], errors: Mapping[str, str]
) -> dict[str, Field]:
    """The fields that every job has, filled with what was given, by name."""
    choices = [("", "Please choose"), *((name, f"{name} – {each.title}") for name, each in analyses.items())]
    ranges = "Start and stop in voxels, with a comma between; the stop is not part of it."
    rows = [
        Field("pipeline", "Pipeline", "What is to be computed.", "select", choices=choices),
        Field("col", "Collection", "Of the archive, such as collman."),
        Field("exp", "Experiment", "In that collection, such as M247514_Rorb_1."),
        Field("z_range", "Z range", ranges, limits={"placeholder": "0, 24"}),
        Field("y_range", "Y range", ranges, limits={"placeholder": "0, 1024"}),
        Field("x_range", "X range", ranges, limits={"placeholder": "0, 1024"}),
        Field("email", "E-mail", "Who is told when the job is done, fails, or waits for a token.", "email"),
        Field(
            SECRET,
            "Token of the archive",
            "It reads the data and pushes the results. It is kept encrypted, and erased when the job has ended.",
            "password",
            limits={"autocomplete": "off", "spellcheck": "false"},
        ),
    ]
    return {row.name: _fill(row, given, errors) for row in rows}


def make_groups(analyses: Mapping[str, Analysis], given: Mapping[str, str], errors: Mapping[str, str]) -> list[Group]:
    """The parameters of each pipeline that a request may choose."""
    chosen = given.get("pipeline", "")
    return [
        Group(name, each.title, each.help, [*_parameter_fields(each, given, errors, own=name == chosen)])
        for name, each in analyses.items()
    ]


def collect(form: MultiDict[str, str]) -> dict[str, str]:
    """What a form holds, by field.

    Raises
    ------
    FormError
        If a field comes twice: which one was meant?
    """
    twice = {name: "this is given twice" for name, values in form.lists() if len(values) > 1}
    if twice:
        raise FormError({name[:100]: reason for name, reason in twice.items()})
    return {name: value for name, value in form.items() if name != ACTION}


def _parameter_fields(
    analysis: Analysis, given: Mapping[str, str], errors: Mapping[str, str], *, own: bool
) -> Iterable[Field]:
    for parameter in analysis.parameters:
        if parameter.server_only:
            continue
        name = f"{analysis.name}.{parameter.name}"
        field = _parameter_field(name, parameter)
        # a script may have used the plain name
        plain = {name: given[parameter.name]} if own and parameter.name in given else {}
        reason = {name: errors[parameter.name]} if own and parameter.name in errors else {}
        yield _fill(field, {**plain, **given}, {**reason, **errors})


def _parameter_field(name: str, parameter: Parameter) -> Field:
    label = parameter.name.replace("_", " ") + (f" ({parameter.unit})" if parameter.unit else "")
    default = "true" if parameter.name in SHOWN else "" if parameter.default is None else str(parameter.default)
    if parameter.kind is bool:
        choices = [("true", "yes"), ("false", "no")]
        return Field(name, label, parameter.help, "select", default.lower(), choices, required=False)
    if parameter.choices:
        return Field(
            name, label, parameter.help, "select", default, [(c, c) for c in parameter.choices], required=False
        )
    limits: dict[str, Any] = {}
    if parameter.kind in (int, float):
        limits = {"min": parameter.minimum, "max": parameter.maximum, "step": 1 if parameter.kind is int else "any"}
    limits = {key: f"{end:g}" if isinstance(end, float) else end for key, end in limits.items() if end is not None}
    return Field(name, label, parameter.help, "number" if limits else "text", default, required=False, limits=limits)


def _fill(field: Field, given: Mapping[str, str], errors: Mapping[str, str]) -> Field:
    """A field with what was given, which a secret never is, and with what is wrong with it."""
    value = "" if field.name == SECRET else given.get(field.name, field.value)
    return Field(**{**field.__dict__, "value": value, "error": errors.get(field.name)})
