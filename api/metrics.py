"""Prometheus metrics, read from the engines when they are asked for: nothing on the hot path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from uuid import UUID

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from dialer.engine.pool import PoolEngine


class EngineMetrics(Collector):
    """Agents and calls by state, attempts by outcome, backlog of writes."""

    def __init__(self, engines: Mapping[UUID, PoolEngine]) -> None:
        self._engines = engines

    def collect(self) -> Iterator[Metric]:
        agents = GaugeMetricFamily("dialer_agents", "Agents by state", labels=["pool", "state"])
        calls = GaugeMetricFamily("dialer_calls", "Live calls by state", labels=["pool", "state"])
        backlog = GaugeMetricFamily("dialer_write_backlog", "Writes waiting", labels=["pool"])
        owned = GaugeMetricFamily("dialer_pool_owned", "1 while the lease is held", labels=["pool"])
        outcomes = GaugeMetricFamily(
            "dialer_attempts",
            "Attempts in the abandon window, by outcome",
            labels=["campaign", "outcome"],
        )
        live = GaugeMetricFamily(
            "dialer_live_answers", "Persons who answered, in the window", labels=["campaign"]
        )
        rate = GaugeMetricFamily(
            "dialer_abandon_rate", "Share of them that were abandoned", labels=["campaign"]
        )
        cap = GaugeMetricFamily(
            "dialer_abandon_cap", "The share that the campaign allows", labels=["campaign"]
        )
        dialing = GaugeMetricFamily(
            "dialer_pool_dialing", "1 while the owner may place calls", labels=["pool"]
        )
        age = GaugeMetricFamily(
            "dialer_lease_age_seconds",
            "Since the owner last proved that the pool is its own",
            labels=["pool"],
        )
        refused = CounterMetricFamily(
            "dialer_writes_refused", "Writes the database would not take", labels=["pool"]
        )
        ticks = CounterMetricFamily(
            "dialer_pacing_ticks", "Times that pacing looked at the pool", labels=["pool"]
        )
        lateness = HistogramMetricFamily(
            "dialer_originate_seconds", "From due to its Originate on the wire", labels=["pool"]
        )
        bridging = HistogramMetricFamily(
            "dialer_bridge_seconds",
            "From person and agent both there to both in one bridge",
            labels=["pool"],
        )
        for pool_id, engine in self._engines.items():
            pool = str(pool_id)
            for state, count in Counter(a.state.value for a in engine.desk.agents.values()).items():
                agents.add_metric([pool, state], count)
            for state, count in Counter(c.state.value for c in engine.calls.calls.values()).items():
                calls.add_metric([pool, state], count)
            backlog.add_metric([pool], engine.writer.backlog)
            owned.add_metric([pool], float(engine.lease.held))
            dialing.add_metric([pool], float(engine.ready.is_set() and engine.gate.open))
            refused.add_metric([pool], engine.writer.refused)
            ticks.add_metric([pool], engine.ticker.ticks)
            if engine.lease.held:
                age.add_metric([pool], engine.lease.age)
            for family, timing in (
                (lateness, engine.placer.lateness),
                (bridging, engine.router.bridging),
            ):
                family.add_metric([pool], list(timing.cumulative()), timing.total)
            for campaign in engine.campaigns.values():
                for outcome, count in campaign.ledger.outcomes.items():
                    outcomes.add_metric([str(campaign.id), outcome], count)
                ledger, name = campaign.ledger, [str(campaign.id)]
                live.add_metric(name, ledger.live_answers)
                rate.add_metric(name, ledger.abandoned / max(ledger.live_answers, 1))
                cap.add_metric(name, campaign.view.settings.target_abandon)
        yield from (agents, calls, backlog, owned, dialing, age, refused, ticks)
        yield from (outcomes, live, rate, cap, lateness, bridging)
