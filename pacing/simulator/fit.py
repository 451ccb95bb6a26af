"""A campaign's parameters from what was seen of it, for simulating what it will do next.

Few observations weigh less than the usual centre's values, which count as some more of them.
"""

from __future__ import annotations

import numpy as np

from pacing.seen import Kind, Seen
from pacing.simulator.scenario import Analysis, Campaign, Machines, Signals, Spread
from pacing.state import Floats, Signal

_USUAL = Campaign()
_WEIGHT = 10.0  # observations that the usual values count for
_LEAST_CV, _MOST_CV = 0.05, 3.0
_LEAST_SECONDS = 0.1
_SLOW = 0.2  # s: an analysis that takes less is none


def fit(
    seen: Seen,
    *,
    timeout: float,
    window: float = 2.0,
    leads: float = np.inf,
    cancel_after: float = np.inf,
) -> Campaign:
    """`timeout`: s calls were and will be allowed to ring. Calls that were given up count for as
    long as they rang."""
    answers, failures = _of(seen, Kind.ANSWERED), _of(seen, Kind.FAILED)
    answered, failed = _incidence(seen, timeout)
    share = 1.0 - np.exp(-len(answers) / _WEIGHT)
    p = share * answered + (1 - share) * _USUAL.p_now
    busy = share * failed + (1 - share) * _USUAL.busy
    talk = _spread(_of(seen, Kind.TALK_ENDED), Spread(_USUAL.talk_now, _USUAL.talk_cv))
    return Campaign(
        p=float(np.clip(p, 0.0, 0.98)),
        busy=float(np.clip(busy, 0.0, 0.99 - min(p, 0.98))),
        failing=_spread(failures, _USUAL.failing, most=timeout),
        ring=_spread(answers, _USUAL.ring, most=timeout),
        timeout=timeout,
        talk=talk.mean,
        talk_cv=talk.cv,
        wrap=_spread(_of(seen, Kind.WRAP_ENDED), _USUAL.wrap),
        window=window,
        cancel_after=cancel_after,
        leads=leads,
        machines=_machines(seen),
        signals=_signals(seen, timeout),
    )


def _of(seen: Seen, kind: Kind) -> Floats:
    return np.asarray(seen.seconds[seen.kind == int(kind)])


def _incidence(seen: Seen, timeout: float) -> tuple[float, float]:
    """Shares of all calls that would be answered, and fail, before the timeout: competing risks
    with those that were given up taken out as they went (Aalen and Johansen 1978)."""
    ends = np.isin(
        seen.kind, [int(k) for k in (Kind.ANSWERED, Kind.FAILED, Kind.RANG_OUT, Kind.CANCELLED)]
    )
    kind, seconds = seen.kind[ends], np.minimum(seen.seconds[ends], timeout)
    order = np.argsort(seconds, kind="stable")
    kind = kind[order]
    n = len(kind)
    if not n:
        return float(_USUAL.p_now), _USUAL.busy
    risk = n - np.arange(n, dtype=np.float64)
    left = np.isin(kind, [int(Kind.CANCELLED), int(Kind.RANG_OUT)])
    stays = np.where(left, 1.0, 1.0 - 1.0 / risk)
    before = np.concatenate([[1.0], np.cumprod(stays)[:-1]])
    step = before / risk
    return float(step[kind == Kind.ANSWERED].sum()), float(step[kind == Kind.FAILED].sum())


def _spread(seconds: Floats, usual: Spread, *, most: float = np.inf) -> Spread:
    """Mean and variation, leaning on the usual ones; a mean below `most`."""
    n = len(seconds)
    weight = n / (n + _WEIGHT)
    mean, cv = usual.mean, usual.cv
    if n:
        average = max(float(seconds.mean()), _LEAST_SECONDS)
        # A time is a scale: halfway between 8 and 120 s is 31 s, or a few talks of a brisk
        # campaign would be swallowed by the usual ones.
        mean = average**weight * mean ** (1 - weight)
        if n > 1:
            cv = weight * float(seconds.std(ddof=1)) / average + (1 - weight) * cv
    mean = min(max(mean, _LEAST_SECONDS), 0.9 * most)
    return Spread(mean, float(np.clip(cv, _LEAST_CV, _MOST_CV)))


def _signals(seen: Seen, timeout: float) -> Signals | None:
    """What the network says while it rings; None where the records tell of no ringing at all. The
    engine foretells better with it than without, and production has it."""
    progress = seen.kind == int(Kind.PROGRESS)
    rings = seen.seconds[progress & (seen.became == int(Signal.RINGING))]
    media = seen.seconds[progress & (seen.became == int(Signal.EARLY_MEDIA))]
    if not len(rings) and not len(media):
        return None
    unanswered = np.isin(seen.kind, [int(Kind.RANG_OUT), int(Kind.CANCELLED)])
    silent = seen.signal[unanswered] < int(Signal.RINGING)
    return Signals(
        ringing=_spread(np.concatenate([rings, media]), Signals().ringing, most=timeout),
        ringback=len(media) / (len(rings) + len(media)),
        announced=0.0,  # not told apart from a ring tone
        silent=float(silent.mean()) if len(silent) else 0.0,
    )


def _machines(seen: Seen) -> Machines | None:
    people, machines = _of(seen, Kind.PERSON), _of(seen, Kind.MACHINE)
    took = people[people > _SLOW]
    if not len(machines) and not len(took):
        return None
    share = len(machines) / max(len(machines) + len(people), 1)
    return Machines(
        share=min(share, 0.99), analysis=Analysis(delay=_spread(took, Spread(1.2, 0.5)))
    )
