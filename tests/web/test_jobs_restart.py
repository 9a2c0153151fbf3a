"""A server without VOXELFOREST_SECRET_KEY that is started again: what becomes of tokens that wait, and of links.

The short form is part of every run; with ``--hypothesis-profile=full`` the job goes on with its new token.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlencode

import hypothesis

from tests.archive_server import serving as archiving
from tests.job_service import FIELDS, TOKEN, environment, make_archive, path_of_plugin
from tests.servers import serving
from tests.web.job_desk import FORM, JSON
from tests.web.job_service import wait_for
from tests.web.old_boxes import problem_of

LONG = hypothesis.settings().max_examples > 100  # --hypothesis-profile=full


def test_tokens_end_with_the_server_and_jobs_wait_for_new_ones(tmp_path: Path) -> None:
    with archiving(make_archive()) as archive:
        variables = environment(tmp_path, archive)
        del variables["VOXELFOREST_SECRET_KEY"]
        variables["PYTHONPATH"] = path_of_plugin()
        with serving(folder=tmp_path, environment=variables) as server:
            reply = server.ask("/submit", method="POST", headers=FORM, body=urlencode(FIELDS).encode())
            assert reply.status == 303  # the server is told to stop before a runner has the job
        place = reply.headers["Location"]
        kept = list((tmp_path / "data" / "job-secrets").iterdir())
        with serving(folder=tmp_path, environment=variables) as server:
            job = wait_for(server, place, "needs token")
            assert "it needs it again" in job["reason"]
            assert not any(path.exists() for path in kept)
            if LONG:
                said = json.dumps({"token": TOKEN}).encode()
                assert server.ask(f"/api/v1{place}/retry", method="POST", headers=JSON, body=said).status == 202
                wait_for(server, place, "done")
            # nothing is signed; what is public is so over restarts, since that is a row
            assert not LONG or "without VOXELFOREST_SECRET_KEY" in server.ask(place).text
            share = f"/api/v1{place}/share"
            plain = server.ask(share, method="POST", headers=JSON, body=b"{}").document
            assert (plain["url"], plain["expires"]) == (f"{server.url}{place}", None)
            problem_of(server.ask(f"/shared/{job['id']}.0123456789ab.99999999999.{'A' * 43}/"), 404)
            public = server.ask(share, method="POST", headers=JSON, body=b'{"public": true}').document["url"]
            assert server.ask(public.removeprefix(server.url)).status == 200
        assert list((tmp_path / "data" / "job-secrets").iterdir()) == []
