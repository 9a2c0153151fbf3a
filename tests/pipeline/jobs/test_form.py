"""The form against an archive: what is refused, beside which field, and what makes two requests the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import FormError, TransientArchiveError
from pipeline.jobs.form import FIELDS as NAMES
from pipeline.jobs.form import parse_request
from pipeline.jobs.store import JobStore
from tests.archive_contents import Archive
from tests.job_service import FIELDS, TOKEN


def refused(**changes: str | None) -> dict[str, str]:
    """Reasons by field; a change to None leaves the field out."""
    fields = {name: text for name, text in {**FIELDS, **changes}.items() if text is not None}
    with pytest.raises(FormError) as caught:
        parse_request(fields)
    return caught.value.errors


def test_good_form_names_what_will_be_computed(archive: Archive) -> None:
    found = parse_request({**FIELDS, "threshold": "200", "nomads-classifier.x": "y"})
    request = found.request
    assert request.key == "bright-voxels_col_exp_z_0_24_y_0_48_x_0_48"
    assert found.id.startswith(request.key + "-")
    assert (request.channels, request.push) == (("raw",), "out/results")
    assert request.parameters == {"threshold": 200, "pause": 0.0, "model": None}
    assert (found.estimate.voxels, found.estimate.bytes) == (24 * 48 * 48, 24 * 48 * 48)
    assert found.estimate.seconds > 0
    assert TOKEN not in repr(found)


def test_files_of_a_pipeline_come_from_the_settings(
    archive: Archive, set_up: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "m.npz").write_bytes(b"")
    set_up(JOB_PARAMETERS=json.dumps({"bright-voxels": {"model": str(tmp_path / "m.npz")}}))
    assert parse_request(FIELDS).request.parameters["model"] == str(tmp_path / "m.npz")


def test_unknown_pipeline_is_refused_before_the_archive_is_asked(archive: Archive, set_up: Callable[..., None]) -> None:
    for given_name in ("Please choose", "nomads-unsupervized", "../x", ""):
        assert set(refused(pipeline=given_name)) == {"pipeline"}
    assert "nomads-unsupervised" in refused(pipeline="nomads-unsupervized")["pipeline"]
    assert archive.requests == []


@pytest.mark.parametrize("name", NAMES)
def test_missing_and_blank_fields_are_named(archive: Archive, name: str) -> None:
    assert refused(**{name: None}) == {name: "this has to be filled in"}
    assert refused(**{name: "  "}) == {name: "this has to be filled in"}


def test_all_wrong_fields_are_named_at_once(archive: Archive) -> None:
    errors = refused(z_range="7", email="a@b.example, c@d.example", threshold="a lot", col="a/b", token="a b")
    assert list(errors) == ["col", "z_range", "email", "token", "threshold"]
    assert archive.requests == []


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"x_range": "0,49"}, "x_range", "48"),
        ({"z_range": "24,25"}, "z_range", "24"),
        ({"exp": "none"}, "exp", "none"),
        ({"token": "unknown"}, "token", ""),
        ({"token": "stranger"}, "token", ""),
        ({"token": "reader"}, "token", ""),
        ({"model": "/etc/passwd"}, "model", "no request may choose"),
        ({"threshhold": "3"}, "threshhold", "no such parameter"),
        ({"threshold": "256"}, "threshold", "255"),
        ({"threshold": "9" * 5000}, "threshold", "4096 at most"),
        ({"col": "c" * 150}, "exp", "too long"),
    ],
)
def test_reason_stands_beside_its_field(archive: Archive, changes: dict[str, str], field: str, text: str) -> None:
    errors = refused(**changes)
    assert list(errors) == [field]
    assert text in errors[field]
    assert TOKEN not in str(errors)


def test_last_plane_may_be_asked_for(archive: Archive) -> None:
    assert parse_request({**FIELDS, "z_range": "23,24"}).request.z == (23, 24)


def test_size_limit_is_told_with_the_number(archive: Archive, set_up: Callable[..., None]) -> None:
    set_up(JOB_BYTES="50KiB")
    assert "54.0 KiB" in refused()["z_range"]
    assert parse_request({**FIELDS, "z_range": "0,20"}).estimate.bytes == 20 * 48 * 48


def test_address_and_token_do_not_count_for_identity_all_else_does(archive: Archive) -> None:
    one = parse_request(FIELDS)
    assert parse_request({**FIELDS, "email": "b@c.example", "token": "writer"}).digest == one.digest
    assert parse_request({**FIELDS, "z_range": " 0 , 24 "}).digest == one.digest
    assert parse_request({**FIELDS, "bright-voxels.threshold": "128"}).digest == one.digest
    for change in ({"threshold": "127"}, {"z_range": "0,23"}, {"x_range": "1,48"}):
        assert parse_request({**FIELDS, **change}).digest != one.digest


def test_archive_that_does_not_answer_is_no_fault_of_the_form(archive: Archive) -> None:
    archive.fail("503", "/collection/", times=100)
    with pytest.raises(TransientArchiveError):
        parse_request(FIELDS)


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["a\r\nBcc: x@y.example", "<script>", "'; DROP TABLE jobs; --", "%s%n", "\0", "../../etc", "{{1}}"]
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(NAMES), HOSTILE, min_size=1))
def test_hostile_forms_are_refused_by_field_and_nothing_is_created(archive: Archive, changes: dict[str, str]) -> None:
    errors: dict[str, str] = {}
    try:
        found = parse_request({**FIELDS, **changes})
    except FormError as error:
        errors = error.errors
    else:
        assert found.id.isascii()
        assert "/" not in found.id
    assert set(errors) <= set(NAMES)
    assert all(reason.isprintable() for reason in errors.values())
    assert not JobStore().exists
