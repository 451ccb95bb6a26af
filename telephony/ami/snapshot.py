"""What a node shows after a (re)connection: its channels and its bridges, as values."""

from __future__ import annotations

from collections.abc import Sequence

from telephony.ami.frame import Fields
from telephony.events import ChannelSnapshot


def snapshot(message: Fields) -> ChannelSnapshot:
    """One CoreShowChannel event as a value."""
    variables: dict[str, str] = {}
    raw = message.get("chanvariable") or ()
    for pair in [raw] if isinstance(raw, str) else raw:
        key, _, value = str(pair).partition("=")
        variables[key] = value
    return ChannelSnapshot(
        channel=str(message.get("channel") or ""),
        unique_id=str(message.get("uniqueid") or ""),
        dialer_id=variables.get("DIALER_ID", ""),
        kind=variables.get("DIALER_KIND", ""),
        answered=str(message.get("channelstatedesc")) == "Up",
        bridge_id=str(message.get("bridgeid") or ""),
        seconds=_seconds(str(message.get("duration") or "")),
    )


def holding_bridges(bridges: Sequence[Fields]) -> frozenset[str]:
    """The ids of the bridges in which legs park."""
    return frozenset(
        str(m.get("bridgeuniqueid"))
        for m in bridges
        if str(m.get("bridgetechnology")) == "holding_bridge"
    )


def _seconds(duration: str) -> float:
    """Seconds in `h:mm:ss`; 0 for anything else."""
    parts = duration.split(":")
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() for p in parts):
        return 0.0
    hours, minutes, seconds = (int(p) for p in parts)
    return hours * 3600.0 + minutes * 60.0 + seconds
