"""Prometheus metrics of webhooks, as this node sees them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from dialer.jobs.webhooks import Figures


class WebhookMetrics(Collector):
    """What became of tries, what waits, and who was given up."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        figures = self._figures
        tries = CounterMetricFamily(
            "dialer_webhook_tries", "Tries to deliver webhooks, by result", labels=["result"]
        )
        for result in ("delivered", "failed", "given_up"):
            tries.add_metric([result], figures.results[result])
        took = HistogramMetricFamily("dialer_webhook_try_seconds", "How long a try took")
        took.add_metric([], list(figures.took.cumulative()), figures.took.total)
        waiting = GaugeMetricFamily(
            "dialer_webhook_waiting", "Deliveries that wait for enabled webhooks"
        )
        waiting.add_metric([], figures.waiting)
        oldest = GaugeMetricFamily(
            "dialer_webhook_oldest_seconds", "How long the oldest of them has been waiting"
        )
        oldest.add_metric([], figures.oldest)
        disabled = GaugeMetricFamily(
            "dialer_webhook_disabled", "Webhooks disabled because nothing arrived"
        )
        disabled.add_metric([], figures.disabled)
        yield from (tries, took, waiting, oldest, disabled)
