"""Whatever the OpenAPI document allows, and what it does not: never a 500."""

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")

from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from self_ensemble.serving.limits import Limits

NUM_CASES = 150


@pytest.mark.slow
def test_no_request_by_the_document_ends_in_a_500(start, tiny_ensemble):
    limits = Limits(max_tokens=32, deadline_s=20)
    seen: dict[int, int] = {}
    with start(tiny_ensemble, limits=limits) as server:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        for found in schema.get_all_operations():
            operation = found.ok()
            _ask(operation, GenerationMode.POSITIVE, server.url, seen)
            if operation.method == "post":
                _ask(operation, GenerationMode.NEGATIVE, server.url, seen)
        assert server.service.scheduler.is_alive
        assert server.service.scheduler.counts.failures == 0
    assert {200, 422} <= set(seen), seen


def _ask(operation, mode, url, seen):
    @settings(max_examples=NUM_CASES, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        if isinstance(case.body, dict) and mode == GenerationMode.POSITIVE:
            # Else nearly all would stop at another model's name.
            case.body["model"] = "tiny"
        found = case.call(base_url=url, timeout=60)
        seen[found.status_code] = seen.get(found.status_code, 0) + 1
        assert found.status_code < 500, (case.body, found.text)

    ask()
