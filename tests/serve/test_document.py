"""The service keeps to its OpenAPI document: schemathesis makes requests from it, and checks the answers."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gancolor.serve.app import Service, build_app
from gancolor.serve.limits import Limits


@pytest.fixture
def schema(service, made):
    pictures = st.sampled_from([made(), made("PNG")])
    schemathesis.openapi.format("binary", pictures)
    schemathesis.openapi.format("json", st.just(json.dumps({"width": 40, "height": 30, "hints": []})))
    for kind in ("image/*", "application/octet-stream"):
        schemathesis.openapi.media_type(kind, pictures)
    return schemathesis.openapi.from_asgi("/openapi.json", build_app(service))


def has_short_list(fields: object) -> bool:
    """Return whether a field is a list of less than two values, which is sent like a single value, or none."""
    values = fields.values() if isinstance(fields, dict) else ()
    return any(isinstance(value, list) and len(value) < 2 for value in values)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_answers_are_as_documented(schema, mode: GenerationMode) -> None:
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.path for operation in operations} == {"/colorize", "/health", "/health/live", "/metrics"}
    colorize, *others = sorted(operations, key=lambda operation: operation.path)
    for operation in others:
        operation.Case().call_and_validate()
    statuses = set()

    @settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(colorize.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        assume(not any(map(has_short_list, (case.query, case.body))))
        # A schema can't say whether a file is a picture.
        answer = case.call_and_validate(excluded_checks=[positive_data_acceptance])
        statuses.add(answer.status_code)

    ask()
    assert (200 in statuses) == (mode == GenerationMode.POSITIVE)


def test_limits_are_stated(colorizer) -> None:
    app = build_app(Service(colorizer, Limits(upload_mb=7, megapixels=8, waiting=9, seconds=10)))
    said = app.app.openapi()["info"]["description"]
    assert all(words in said for words in ("7 MB", "8 megapixels", "9 requests", "10 s"))
