"""What Schemathesis checks beside its own: loaded by its command line through ``SCHEMATHESIS_HOOKS``."""

from __future__ import annotations

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

# What is well formed and yet not to be had: no schema says which axes a layer has, how long they are, or what file is a
# project. A refusal with one of these codes is a right answer; any other one of what the document allows is not.
BEYOND_SCHEMAS = {
    400: {"axes", "colors", "picture", "plane", "window", "not_hdf5", "form"},
    413: {"region"},
    416: {"region"},
}


@schemathesis.check
def refusals_have_a_reason(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """What the document allows is answered, or refused for a reason that no document can say."""
    known = BEYOND_SCHEMAS.get(response.status_code)
    if known is None or response.json().get("code") not in known:
        positive_data_acceptance(ctx, response, case)


@schemathesis.check
def nothing_inside_is_told(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """No stack trace, no file of the machine's."""
    assert b"Traceback" not in response.content
    assert b"root:" not in response.content
