"""The HTTP API against its own description: no server error, every response as described, and what the schema allows is
accepted, and nothing else.

More cases: `SYNTOR_FUZZ_EXAMPLES=150 pytest tests/e2e/test_api_fuzz.py` sends more than 5,000.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack

EXAMPLES = os.environ.get("SYNTOR_FUZZ_EXAMPLES", "15")
CONFIGURATION = """
[checks]
negative_data_rejection.expected-statuses = [400, 404, 413, 415]
positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 422]

[[operations]]  # a schema cannot say which event is of which run
include-operation-id = "listRunEvents"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 409]

[[operations]]  # or of which session, or which keys have been used
include-operation-id = "forkSession"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 409, 422]

[[operations]]  # a request may carry headers its schema does not name; unknown fields of bodies have tests of their own
include-operation-id = "startRun"
generation.allow-extra-parameters = false

[[operations]]
include-operation-id = "retryRun"
generation.allow-extra-parameters = false

[[operations]]  # a schema cannot say that names are unique
include-operation-id = "registerTools"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400]
"""
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,negative_data_rejection,positive_data_acceptance"
)


@pytest.mark.timeout(600)
def test_no_request_breaks_the_api_and_every_response_is_as_described(
    stack: LocalStack, http: httpx2.Client, tmp_path: Path
) -> None:
    assert http.post("/v1/runs", json={"agent": "worker", "input": "hello"}).status_code == 202
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    program = Path(sys.executable).with_name("schemathesis")
    options = ["--max-examples", EXAMPLES, "--checks", CHECKS, "--request-timeout", "20", "--seed", "1", "--no-color"]
    done = subprocess.run(
        [
            str(program),
            "--config-file",
            str(configuration),
            "run",
            f"{stack.url}/openapi.json",
            "--header",
            f"Authorization: {stack.headers['Authorization']}",
            "--exclude-path",
            "/v1/events",
            *options,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=560 if EXAMPLES == "15" else 1800,
        cwd=tmp_path,
    )
    output = done.stdout[-6000:] + done.stderr[-2000:]
    assert done.returncode == 0, output
    cases = re.search(r"(\d+) generated", done.stdout)
    assert cases is not None, output
    print(f"{cases[1]} cases")
    assert int(cases[1]) >= 500
    restarts = {row["name"]: row["restarts"] for row in stack.status()["services"]}
    assert set(restarts.values()) == {0}, restarts
    assert http.get("/v1/runs").status_code == 200
