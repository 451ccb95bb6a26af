"""Which trunk a call leaves by, and what its end says about that trunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dialer.domain.call import Outcome
from dialer.domain.campaign import CampaignSettings
from telephony.clock import Clock
from telephony.trunks import Trunk, TrunkSettings

_TRUNK_FAILURES = frozenset({Outcome.CONGESTION, Outcome.INVALID_NUMBER, Outcome.FAILED})


class Lines:
    """All trunks of this dialer."""

    def __init__(self, settings: Iterable[TrunkSettings], *, clock: Clock) -> None:
        self._clock = clock
        self.trunks: dict[str, Trunk] = {s.name: Trunk(s) for s in settings}

    def usable(self, settings: CampaignSettings, node: str) -> list[Trunk]:
        """The campaign's trunks on this node, in its order of preference."""
        names = settings.trunks or tuple(self.trunks)
        return [
            self.trunks[name]
            for name in names
            if name in self.trunks and self.trunks[name].settings.node == node
        ]

    def lead_to(self, settings: CampaignSettings, number: str) -> bool:
        """Whether any of the campaign's trunks, on any node, may ever call this number."""
        names = settings.trunks or tuple(self.trunks)
        mine = [self.trunks[name] for name in names if name in self.trunks]
        return not mine or any(trunk.may_call(number) for trunk in mine)

    def take(self, settings: CampaignSettings, node: str, number: str) -> str | None:
        """A line for this number: the trunk's name, or None when there is none now."""
        now = self._clock.monotonic()
        for trunk in self.usable(settings, node):
            if trunk.may_call(number) and trunk.take(now):
                return trunk.settings.name
        return None

    def adopt(self, name: str) -> None:
        if name in self.trunks:
            self.trunks[name].adopt()

    def release(self, name: str) -> None:
        if name in self.trunks:
            self.trunks[name].release()

    def report(self, name: str, outcome: Outcome, *, tech_cause: str) -> None:
        """A call's end, for the breaker."""
        trunk = self.trunks.get(name)
        if trunk is not None:
            trunk.report(
                trunk_failure=outcome in _TRUNK_FAILURES,
                now=self._clock.monotonic(),
                what=tech_cause or outcome.value,
            )

    def describe(self) -> Sequence[Mapping[str, Any]]:
        """For the live figures."""
        now = self._clock.monotonic()
        return [
            {
                "name": trunk.settings.name,
                "node": trunk.settings.node,
                "up": trunk.free_lines(now) > 0 or trunk.used > 0,
                "lines": trunk.settings.lines,
                "used": trunk.used,
                "breaker": trunk.breaker.value,
                "reason": trunk.reason,
            }
            for trunk in self.trunks.values()
        ]
