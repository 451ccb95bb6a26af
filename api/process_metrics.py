"""Prometheus metrics of the process and what it hangs on: loop, tasks, bus, links, trunks, jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from api.readiness import Readiness
from api.watchdog import Watchdog
from api.watched import WatchedTasks
from dialer.engine.heartbeat import Heartbeat
from dialer.engine.lines import Lines
from dialer.engine.timing import Timing
from dialer.jobs.recordings import RecordingMover
from dialer.live.bus import Bus
from telephony.ami import AmiSwitch
from telephony.nodes import Switchboard

_BREAKER = {"closed": 0.0, "half_open": 1.0, "open": 2.0}


class ProcessMetrics(Collector):
    """Read when they are asked for."""

    def __init__(
        self,
        *,
        tasks: WatchedTasks,
        heartbeat: Heartbeat,
        watchdog: Watchdog,
        bus: Bus,
        switchboard: Switchboard,
        switches: Mapping[str, AmiSwitch],
        lines: Lines,
        pops: Timing,
    ) -> None:
        self._tasks, self._heartbeat, self._watchdog = tasks, heartbeat, watchdog
        self._bus, self._switchboard, self._switches = bus, switchboard, switches
        self._lines, self._pops = lines, pops

    def collect(self) -> Iterator[Metric]:
        yield from self._process()
        yield from self._nodes()
        yield from self._trunks()

    def _process(self) -> Iterator[Metric]:
        lag = HistogramMetricFamily("dialer_loop_lag_seconds", "How late the loop's beats were")
        lag.add_metric([], list(self._heartbeat.lag.cumulative()), self._heartbeat.lag.total)
        yield lag
        yield GaugeMetricFamily(
            "dialer_loop_lag_worst_seconds", "The longest lag of the last minute",
            value=self._heartbeat.worst(),
        )  # fmt: skip
        yield CounterMetricFamily(
            "dialer_loop_stalls", "Standstills of the loop that were logged with its stack",
            value=self._watchdog.stalls,
        )  # fmt: skip
        yield CounterMetricFamily(
            "dialer_stale_stalls",
            "Standstills after which no call was placed before all was known anew",
            value=self._heartbeat.stalls,
        )
        yield GaugeMetricFamily(
            "dialer_tasks_dead", "Long-lived tasks that ended on their own",
            value=len(self._tasks.dead),
        )  # fmt: skip
        yield GaugeMetricFamily(
            "dialer_dialing_held", "1 when a dead task keeps this process from placing calls",
            value=float(bool(self._tasks.hold())),
        )  # fmt: skip
        deaths = CounterMetricFamily(
            "dialer_task_deaths", "How often each task or engine loop died", labels=["task"]
        )
        for name, count in sorted(self._tasks.deaths.items()):
            deaths.add_metric([name], count)
        yield deaths
        yield GaugeMetricFamily(
            "dialer_bus_up", "1 while the bus works", value=float(self._bus.state == "ok")
        )
        pops = HistogramMetricFamily(
            "dialer_pop_seconds", "From a screen pop's posting to its hand-over to the websocket"
        )
        pops.add_metric([], list(self._pops.cumulative()), self._pops.total)
        yield pops

    def _nodes(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("dialer_node_up", "1 while calls can be placed", labels=["node"])
        links = GaugeMetricFamily(
            "dialer_ami_link_up", "1 while the manager link is up", labels=["link"]
        )
        connects = CounterMetricFamily(
            "dialer_ami_connects", "How often the link was made", labels=["link"]
        )
        skew = GaugeMetricFamily(
            "dialer_node_clock_ahead_seconds", "Asterisk's clock before ours", labels=["node"]
        )
        down = self._switchboard.down()
        for name in self._switchboard.names:
            up.add_metric([name], float(name not in down))
        for name, switch in self._switches.items():
            skew.add_metric([name], switch.skew)
            for link in switch.links:
                links.add_metric([link.name], float(link.up))
                connects.add_metric([link.name], link.connects)
        yield from (up, links, connects, skew)

    def _trunks(self) -> Iterator[Metric]:
        breaker = GaugeMetricFamily(
            "dialer_trunk_breaker", "0 in use, 1 being tried, 2 out of use", labels=["trunk"]
        )
        used = GaugeMetricFamily("dialer_trunk_calls", "Lines in use", labels=["trunk"])
        lines = GaugeMetricFamily("dialer_trunk_lines", "Lines there are", labels=["trunk"])
        for trunk in self._lines.describe():
            breaker.add_metric([trunk["name"]], _BREAKER[trunk["breaker"]])
            used.add_metric([trunk["name"]], trunk["used"])
            lines.add_metric([trunk["name"]], trunk["lines"])
        yield from (breaker, used, lines)


class CheckMetrics(Collector):
    """What /readyz says, as it was at the last look."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def collect(self) -> Iterator[Metric]:
        checks = GaugeMetricFamily(
            "dialer_check", "1 good, 0.5 degraded, 0 not; as /readyz says it", labels=["check"]
        )
        for name, why in sorted(self._readiness.last.items()):
            good = 1.0 if why == "ok" else 0.5 if why.startswith("degraded") else 0.0
            checks.add_metric([name], good)
        yield checks


class JobMetrics(Collector):
    """What the jobs beside the calls still have to do."""

    def __init__(self, mover: RecordingMover) -> None:
        self._mover = mover

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "dialer_recordings_waiting", "Recordings still on the nodes at the last look",
            value=self._mover.waiting,
        )  # fmt: skip
        yield GaugeMetricFamily(
            "dialer_recordings_oldest_seconds", "Age of the oldest of them",
            value=self._mover.oldest,
        )  # fmt: skip
        yield CounterMetricFamily(
            "dialer_recordings_failed", "Tries to move one that failed", value=self._mover.failed
        )
