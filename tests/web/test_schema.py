"""Schemathesis over the served OpenAPI document: good requests and bad ones, and the server does what it says.

The short form is part of every run; ``--hypothesis-profile=full`` sends more than 5,000 requests, and follows from one
answer to the next.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from hypothesis import settings

from tests.servers import Server

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
HOOKS = Path(__file__).with_name("schema_checks.py")


def test_the_api_does_what_its_document_says(server_3d: Server, tmp_path: Path) -> None:
    short = settings().derandomize
    command = [
        *(str(SCHEMATHESIS), "run", f"{server_3d.url}/api/v1/openapi.json", "--no-color", "--continue-on-failure"),
        *("--exclude-checks", "positive_data_acceptance"),  # ours knows what no schema can say
        *("--max-examples", str(settings().max_examples // (4 if short else 1))),
        *("--phases", "coverage,fuzzing" if short else "coverage,fuzzing,stateful"),
        *(("--generation-deterministic",) if short else ("--generation-database", "none")),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
    (generated,) = re.findall(r"([0-9]+) generated", done.stdout)
    assert int(generated) > 8 * settings().max_examples
