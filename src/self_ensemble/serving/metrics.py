"""What Prometheus reads: requests by route and status, their seconds, the queue, tokens, steps."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from self_ensemble.serving.scheduler import Scheduler

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class _State(Collector):
    """Numbers that are read when they are asked for."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        one, counts = self._scheduler, self._scheduler.counts
        gauge, counter = GaugeMetricFamily, CounterMetricFamily
        yield gauge("self_ensemble_waiting", "Requests not begun.", value=one.num_waiting)
        yield gauge("self_ensemble_live", "Answers being made.", value=one.num_live)
        yield counter("self_ensemble_steps", "Steps of all answers together.", value=counts.steps)
        yield counter("self_ensemble_tokens", "Tokens of ended answers.", value=counts.tokens)
        yield counter("self_ensemble_failures", "Failures; see the log.", value=counts.failures)


class Metrics:
    """A registry of its own, so that several servers may live in one process."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Begin at zero."""
        self._registry = CollectorRegistry()
        self._registry.register(_State(scheduler))
        self._requests = Counter(
            "self_ensemble_requests", "Requests.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "self_ensemble_request_seconds", "Seconds of a request, to the end of its answer.",
            ("route",), registry=self._registry, buckets=SECONDS,
        )  # fmt: skip
        self._first = Histogram(
            "self_ensemble_first_token_seconds", "Seconds to a streamed answer's first text.",
            registry=self._registry, buckets=SECONDS,
        )  # fmt: skip

    def observe(self, route: str, status: int, seconds: float) -> None:
        """A request has ended."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def first_token(self, seconds: float) -> None:
        """A streamed answer has begun."""
        self._first.observe(seconds)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)
