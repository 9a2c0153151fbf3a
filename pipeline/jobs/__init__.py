"""Jobs: analyses of volumes in an archive that people ask for by a form, and whose results they are told of.

::

    request ── what is wanted, parsed and checked; its key and its digest say whether it is the same as another
    store ──── the jobs, their states and events in one SQLite file; what people do to them
    claims ─── what a runner does to them: takes one under a lease, keeps it, ends it
    runner ─── computes one job from the claim to the outcome
    keeper ─── starts a runner for each job that may run, and another one where one died
    secrets ── the tokens, outside of the record
"""

from __future__ import annotations
