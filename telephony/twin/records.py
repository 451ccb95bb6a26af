"""The twin's call records: what its nodes wrote down, whoever was listening."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from telephony.records import CallRecord
from telephony.twin.channel import Channel
from telephony.twin.node import TwinNode


class TwinRecords:
    """Implements `CallRecords` over nodes in memory."""

    def __init__(self, nodes: Iterable[TwinNode]) -> None:
        self._nodes = tuple(nodes)

    async def find(self, ids: Sequence[str], *, since: datetime) -> Mapping[str, CallRecord]:
        found: dict[str, CallRecord] = {}
        for node in self._nodes:
            for key in ids:
                call = node.ended.get(key) or node.channels.get(key)
                if call is not None:
                    found[key] = _record(call)
        return found


def _record(call: Channel) -> CallRecord:
    return CallRecord(
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        end=call.end,
        cause=call.cause,
        tech_cause=call.tech_cause,
        bridged=call.bridged,
        leg_id=call.met,
        message_played="message" in call.stages,
        opted_out="optout" in call.stages,
        stages=tuple(call.stages),
    )
