"""The OpenAPI document, and a machine that tries what it allows: every answer is one it names."""

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.web.serving import BEARER

BOUNDED = settings(
    max_examples=4, deadline=None, derandomize=True, database=None,
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
)  # fmt: skip
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance,
]  # fmt: skip
LEFT_OUT = {"/api/v1/events"}  # it never ends


def cases(client):
    document = client.get("/api/v1/openapi.json").json
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig())
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path not in LEFT_OUT:
            yield operation


def try_out(operation, client, tried):
    @BOUNDED
    @given(case=operation.as_strategy())
    def try_it(case):
        answer = case.call(base_url=f"http://127.0.0.1:{client.port}", headers=BEARER)
        tried.append((operation.method, operation.path, answer.status_code))
        case.validate_response(answer, checks=CHECKS)

    try_it()


def test_no_request_that_the_description_allows_is_answered_as_it_does_not(still):
    tried = []
    for operation in cases(still):
        try_out(operation, still, tried)
    assert len({(method, path) for method, path, _ in tried}) >= 14
    assert {200, 404} <= {status for *_, status in tried}
