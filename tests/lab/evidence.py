"""The invariants, checked from what Asterisk wrote down (CEL) against the dialer's own records.

A third witness beside SIPp's log and the database: written by another process, whatever the dialer
did or did not live to see. Everything here fails with an AssertionError that names the call.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]

_CLOCKS = 0.3  # s by which two writers on one loaded machine may differ about an instant


@dataclass(slots=True)
class Channel:
    """One channel's life by CEL; seconds since 1970, 0 = never."""

    started: float = 0.0
    answered: float = 0.0
    message: float = 0.0
    ended: float = 0.0
    ended_by_us: bool = False
    bridges: list[tuple[str, float]] = field(default_factory=list)  # (bridge, entered)
    exits: list[tuple[str, float]] = field(default_factory=list)
    opted_out: bool = False


def read_cel(path: Path) -> dict[str, Channel]:
    """Every channel by its id. Parking (holding bridges) is left out."""
    channels: defaultdict[str, Channel] = defaultdict(Channel)
    for row in csv.reader(path.read_text(errors="replace").splitlines()):
        if len(row) < 4:
            continue
        at, kind, channel = float(row[0]), row[1], channels[row[2]]
        extra = json.loads(row[3]) if row[3].startswith("{") else {}
        parked = extra.get("bridge_technology") == "holding_bridge"
        if kind == "CHAN_START":
            channel.started = at
        elif kind == "HANGUP":
            source = extra.get("hangupsource") or ""
            # Its own name: the far end; another one's, in the same bridge: an agent's phone.
            channel.ended_by_us = not source or (len(row) > 5 and source != row[5])
        elif kind == "ANSWER":
            channel.answered = channel.answered or at
        elif kind == "BRIDGE_ENTER" and not parked:
            channel.bridges.append((extra["bridge_id"], at))
        elif kind == "BRIDGE_EXIT" and not parked:
            channel.exits.append((extra["bridge_id"], at))
        elif kind == "DialerStage" and "message" in row[3]:
            channel.message = at
        elif kind == "DialerStage" and "optout" in row[3]:
            channel.opted_out = True
        elif kind == "CHAN_END":
            channel.ended = at
    return dict(channels)


def agent_hex(leg_id: str) -> str:
    """The agent named in a leg's id."""
    return leg_id.split("-")[1]


class Evidence:
    """CEL of all nodes, against the records of all calls."""

    def __init__(self, paths: Iterable[Path], calls: Iterable[Record]) -> None:
        self.channels: dict[str, Channel] = {}
        for path in paths:
            self.channels.update(read_cel(path))
        self.records = {record["id"]: record for record in calls}
        self._leg_of: defaultdict[str, set[str]] = defaultdict(set)  # bridge -> legs
        for channel_id, channel in self.channels.items():
            if channel_id.startswith("leg-"):
                for bridge, _ in channel.bridges:
                    self._leg_of[bridge].add(channel_id)

    @property
    def called(self) -> dict[str, Channel]:
        return {i: c for i, c in self.channels.items() if not i.startswith("leg-")}

    def met(self, channel: Channel) -> set[str]:
        """The agents (hex ids) that a call was in one bridge with."""
        return {agent_hex(leg) for bridge, _ in channel.bridges for leg in self._leg_of[bridge]}

    def talks(self, channel: Channel) -> list[tuple[str, float, float]]:
        """(agent, from, until) of a call's conversations: over when either of them left the
        bridge, 0 = never."""
        found: list[tuple[str, float, float]] = []
        for bridge, since in channel.bridges:
            for leg_id in self._leg_of[bridge]:
                ways = [*channel.exits, *self.channels[leg_id].exits]
                outs = [at for out, at in ways if out == bridge and at >= since]
                found.append((agent_hex(leg_id), since, min(outs, default=channel.ended)))
        return found

    def check(self, *, window: float, lost_nodes: bool = False) -> None:
        """All that CEL can tell. `window`: the connect window in seconds; `lost_nodes`: an Asterisk
        was killed, and what it had not yet written is missing."""
        self.every_channel_has_its_record()
        self.records_say_what_happened(lost_nodes=lost_nodes)
        self.nobody_hears_silence(window)
        self.an_agent_talks_to_one_person()

    def every_channel_has_its_record(self) -> None:
        """1: nobody was called without an attempt that was committed before."""
        strangers = self.called.keys() - self.records.keys()
        assert not strangers, strangers
        for call_id in self.called:
            assert self.records[call_id]["outcome"] != "expired", (call_id, "expired, but called")

    def records_say_what_happened(self, *, lost_nodes: bool) -> None:
        """1 and 3: answered, message, and who was met are in the records as they were."""
        for call_id, record in self.records.items():
            channel, outcome = self.channels.get(call_id), record["outcome"]
            if channel is None:
                quiet = ("expired", "unknown", "failed")
                assert lost_nodes or outcome in quiet, (call_id, "never called", record)
                continue
            story = (call_id, record, channel)
            if not channel.ended:
                assert lost_nodes, (*story, "still there")
                continue
            if outcome == "unknown":
                continue
            assert bool(record["answered_at"]) == bool(channel.answered), story
            agents = self.met(channel)
            assert bool(record["connected_at"]) == bool(agents), (*story, agents)
            if agents:
                assert str(record["agent_id"]).replace("-", "") in agents, (*story, agents)
            if channel.message and not agents:
                assert outcome == "abandoned", story

    def nobody_hears_silence(self, window: float) -> None:
        """7: after the answer comes an agent, the message or the end, within the window."""
        for call_id, channel in self.called.items():
            if not channel.answered or not channel.ended:
                continue
            joined = [at for bridge, at in channel.bridges if self._leg_of[bridge]]
            first = min([*joined, *([channel.message] if channel.message else []), channel.ended])
            waited = first - channel.answered
            assert waited <= window + _CLOCKS, (call_id, f"{waited:.3f} s in silence", channel)

    def an_agent_talks_to_one_person(self) -> None:
        """4: the times in which a leg shares a bridge with calls never overlap."""
        talks: defaultdict[str, list[tuple[float, float, str]]] = defaultdict(list)
        for call_id, channel in self.called.items():
            left = dict(channel.exits)
            for bridge, since in channel.bridges:
                until = left.get(bridge, channel.ended or since)
                for leg in self._leg_of[bridge]:
                    talks[leg].append((since, until, call_id))
        for leg, times in talks.items():
            times.sort()
            for (_, until, first), (since, _, second) in itertools.pairwise(times):
                assert first == second or since >= until - 0.01, (leg, first, second)


def agent_time_adds_up(intervals: Sequence[Mapping[str, Any]]) -> None:
    """5: within a session an agent's intervals join without gap or overlap.

    `intervals`: rows of agent_interval (`session_id`, `started_at`, `ended_at`, `state`).
    """
    sessions: defaultdict[Any, list[tuple[datetime, datetime, str]]] = defaultdict(list)
    for row in intervals:
        sessions[row["session_id"]].append((row["started_at"], row["ended_at"], row["state"]))
    for session, times in sessions.items():
        times.sort(key=lambda t: (t[0], t[1]))
        for (_, end, state), (start, _, following) in itertools.pairwise(times):
            assert start == end, (session, state, end, following, start)
        total = sum((end - start for start, end, _ in times), timedelta())
        assert total == times[-1][1] - times[0][0], session
