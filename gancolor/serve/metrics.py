"""Metrics of the service, in the format of Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # [s]


class Metrics:
    """Counts and durations of requests to colour, by HTTP status, and how many are in progress.

    Args:
        in_progress: returns the number of requests that are coloured or wait.
    """

    def __init__(self, in_progress: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "gancolor_request_seconds", "Duration of requests to colour a photograph, by HTTP status",
            ["status"], buckets=BUCKETS, registry=self._registry,
        )  # fmt: skip
        gauge = Gauge("gancolor_requests_in_progress", "Requests that are coloured or wait", registry=self._registry)
        gauge.set_function(in_progress)

    def observe(self, status: int, seconds: float) -> None:
        self._seconds.labels(str(status)).observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self._registry)
