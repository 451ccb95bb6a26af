"""SIPp's log against the dialer's records: what was really called, how it ended, and when again.

SIPp is the truth. Everything here fails with an AssertionError that names the number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.lab.public import PublicCall

Record = Mapping[str, Any]

#: What SIPp did with an INVITE that it did not answer, and the one outcome that is right for it.
_UNANSWERED = {
    ("REFUSED 486",): "busy",
    ("REFUSED 404",): "invalid_number",
    ("REFUSED 480",): "no_answer",
    ("REFUSED 503",): "congestion",
    ("REFUSED 500",): "congestion",
    ("REFUSED 603",): "rejected",
    ("CANCELLED",): "no_answer",
    (): "congestion",  # to a trunk that says nothing
}
#: Costs the lead no attempt.
_FREE = frozenset({"congestion", "expired"})
_EDGE = 0.15  # s around the end of the connect window in which message and BYE may cross
_NO_RING = 0.9  # s
_CLOCKS = 0.06  # s by which two clocks of one machine may differ in their reading of an instant


def _right(
    record: Record, seen: PublicCall, window: float, ended_by_us: Collection[str] = ()
) -> bool:
    """Whether the record says what SIPp did. `ended_by_us`: calls of which Asterisk's own records
    say that our side ended them."""
    outcome, ends = record["outcome"], tuple(seen.ends)
    if ends in _UNANSWERED:
        unanswered = {_UNANSWERED[ends]}
        # One that a half-open link let out too late is put down at once, and is that. Nobody's
        # ring time is that short: Asterisk's least is a second.
        if ends == ("CANCELLED",) and seen.end_at - seen.at < _NO_RING:
            unanswered.add("cancelled")
        return outcome in unanswered and record["answered_at"] is None
    if ends == ("ANSWERED", "CUT_OFF"):
        return record["connected_at"] is not None and record["agent_id"] is not None
    if ends not in (("ANSWERED", "BYE_RECEIVED"), ("ANSWERED", "BYE_SENT")):
        return False
    far = ends[1] == "BYE_SENT"
    if record["connected_at"] is not None:
        met = record["agent_id"] is not None
        right = {"ended_by_customer" if far else "ended_by_agent"}
        # Two BYEs that cross: SIPp logs its own, Asterisk tells whose it knew first.
        if far and record["id"] in ended_by_us:
            right.add("ended_by_agent")
        return met and outcome in right
    waited = seen.end_at - seen.answered_at  # SIPp's own: the dialer may have heard of it late
    if far and waited < window - _EDGE:
        # Where both hung up at once and Asterisk knew its own side first, it counts against us.
        crossed = outcome == "abandoned" and record["id"] in ended_by_us
        return bool(outcome == "hung_up_waiting" or crossed)
    if far and waited < window + _EDGE:  # on the edge either is right
        return outcome in ("hung_up_waiting", "abandoned")
    return bool(outcome == "abandoned")


def _by_number(
    calls: Iterable[Record], truth: Iterable[PublicCall]
) -> dict[str, tuple[list[Record], list[PublicCall]]]:
    """Records of calls that left, and INVITEs that came, both in order of time."""
    joined: dict[str, tuple[list[Record], list[PublicCall]]] = defaultdict(lambda: ([], []))
    for call in sorted(calls, key=lambda c: str(c["id"])):  # ids sort by time
        if call["outcome"] != "expired":
            joined[call["number"]][0].append(call)
    for seen in sorted(truth, key=lambda t: t.at):
        joined[seen.number][1].append(seen)
    return joined


def same_story(
    calls: Iterable[Record], truth: Iterable[PublicCall], *, window: float = 2.0
) -> None:
    """Each number got the INVITEs of its records, none more, and each outcome is what SIPp did.

    `window`: the campaign's connect window in seconds.
    """
    for number, (records, invites) in _by_number(calls, truth).items():
        assert len(records) == len(invites), (number, records, invites)
        for record, seen in zip(records, invites, strict=True):
            assert record["outcome"] is not None, (number, "left open", record)
            assert _right(record, seen, window), (number, record, seen)


def same_story_after_a_crash(
    calls: Iterable[Record],
    truth: Iterable[PublicCall],
    *,
    window: float = 2.0,
    cut_off: bool = False,
    ended_by_us: Collection[str] = (),
) -> int:
    """The same where something died in between: an attempt may have ended as *unknown*, and then
    its INVITE may have been or not; every other one is what SIPp did. Nobody was called without a
    record. `cut_off`: an Asterisk died with conversations up, whose end SIPp never saw. Returns
    the number of unknown ones.
    """
    truth = [_as_cut_off(seen) if cut_off else seen for seen in truth]
    unknown = 0
    for number, (records, invites) in _by_number(calls, truth).items():
        unknown += sum(r["outcome"] == "unknown" for r in records)
        assert all(r["outcome"] is not None for r in records), (number, "left open", records)
        assert _aligned(records, invites, window, ended_by_us), (number, records, invites)
    return unknown


def _as_cut_off(seen: PublicCall) -> PublicCall:
    """A conversation that nobody ended counts as one: by whom, nobody knows."""
    if seen.ends != ["ANSWERED"]:
        return seen
    return replace(seen, ends=["ANSWERED", "CUT_OFF"])


def _aligned(
    records: Sequence[Record],
    invites: Sequence[PublicCall],
    window: float,
    ended_by_us: Collection[str] = (),
) -> bool:
    """Whether each record has its INVITE, in order, where an unknown one may have none."""
    if not records:
        return not invites
    first, rest = records[0], records[1:]
    if first["outcome"] == "unknown":
        return _aligned(rest, invites, window, ended_by_us) or (
            bool(invites) and _aligned(rest, invites[1:], window, ended_by_us)
        )
    return (
        bool(invites)
        and _right(first, invites[0], window, ended_by_us)
        and _aligned(rest, invites[1:], window, ended_by_us)
    )


def retries_kept(
    calls: Iterable[Record],
    truth: Iterable[PublicCall],
    *,
    rules: Mapping[str, Mapping[str, float]],
    max_attempts: int,
    slack: float,
) -> list[float]:
    """Each number got exactly the INVITEs that the retry rules ask for: none too many, none too
    few, none too early, and none later than `slack` seconds after it was due.

    Returns how late the repeated ones were, in seconds.
    """
    late: list[float] = []
    for number, (records, invites) in _by_number(calls, truth).items():
        attempts = 0
        counts: dict[str, int] = defaultdict(int)
        for index, (record, seen) in enumerate(zip(records, invites, strict=True)):
            outcome = record["outcome"]
            attempts += outcome not in _FREE
            rule = rules.get(outcome)
            again = rule is not None and attempts < max_attempts and counts[outcome] < rule["most"]
            counts[outcome] += 1
            last = index + 1 == len(invites)
            assert again is not last, (number, "repeated wrongly", index, records, invites)
            if again and rule is not None:
                wait = invites[index + 1].at - (seen.end_at + rule["delay"])
                assert -_CLOCKS <= wait <= slack, (number, f"{wait:+.3f} s from due", records)
                late.append(wait)
    return sorted(late)


def pops_fit(leads: Sequence[Mapping[str, Any]], messages: Iterable[Mapping[str, Any]]) -> int:
    """Every screen pop carried the record of the person whose number was called; how many."""
    by_index = {lead["attributes"]["index"]: lead for lead in leads}
    pops = [m["data"] for m in messages if m["type"] == "pop"]
    for pop in pops:
        shown = pop["customer"]
        lead = by_index[shown["attributes"]["index"]]
        assert (shown["number"], shown["name"]) == (lead["number"], lead["name"]), shown
    return len(pops)


def numbered(messages: Iterable[Mapping[str, Any]]) -> None:
    """A client that was never cut off got every message once, in order."""
    seqs = [int(m["seq"].split("-")[1]) for m in messages if m["type"] != "snapshot"]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True
