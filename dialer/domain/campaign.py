"""A campaign's states, and the settings an engine needs, versioned with every attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from uuid import UUID

from dialer.domain.call import Outcome
from dialer.domain.machine import Machine


class CampaignState(Enum):
    DRAFT = "draft"
    READY = "ready"
    RUNNING = "running"
    PAUSING = "pausing"  # no new calls, those under way are finished
    PAUSED = "paused"
    HALTED = "halted"  # the dialer stopped it, with a reason
    FINISHED = "finished"  # every lead is done, or somebody stopped it


class CampaignEvent(Enum):
    MAKE_READY = "make_ready"
    START = "start"
    PAUSE = "pause"
    DRAINED = "drained"
    HALT = "halt"
    STOP = "stop"
    FINISH = "finish"  # the dialer: every lead is done
    EDIT = "edit"


_S, _E = CampaignState, CampaignEvent

CAMPAIGN = Machine(
    "campaign",
    {
        _S.DRAFT: {_E.MAKE_READY: _S.READY, _E.START: _S.RUNNING, _E.STOP: _S.FINISHED},
        _S.READY: {_E.START: _S.RUNNING, _E.EDIT: _S.DRAFT, _E.STOP: _S.FINISHED},
        _S.RUNNING: {
            _E.PAUSE: _S.PAUSING,
            _E.HALT: _S.HALTED,
            _E.STOP: _S.FINISHED,
            _E.FINISH: _S.FINISHED,
        },
        _S.PAUSING: {
            _E.DRAINED: _S.PAUSED,
            _E.START: _S.RUNNING,
            _E.HALT: _S.HALTED,
            _E.STOP: _S.FINISHED,
        },
        _S.PAUSED: {_E.START: _S.RUNNING, _E.STOP: _S.FINISHED},
        _S.HALTED: {_E.START: _S.RUNNING, _E.STOP: _S.FINISHED},
        _S.FINISHED: {_E.START: _S.RUNNING},  # when it has leads to call again
    },
)


class DialMode(Enum):
    PREVIEW = "preview"
    MANUAL = "manual"
    PROGRESSIVE = "progressive"
    RATIO = "ratio"
    PREDICTIVE = "predictive"  # as many as the abandon budget pays for


class Purpose(Enum):
    MARKETING = "marketing"
    SERVICE = "service"
    SURVEY = "survey"
    DEBT = "debt"


@dataclass(frozen=True, slots=True)
class RetryRule:
    """What follows an outcome: try again after `delay` seconds, at most `most` times, else done."""

    delay: float
    most: int


#: Reasonable for any campaign; a campaign overrides by outcome.
DEFAULT_RETRIES: Mapping[Outcome, RetryRule] = {
    Outcome.BUSY: RetryRule(600, 3),
    Outcome.NO_ANSWER: RetryRule(14400, 3),
    Outcome.REJECTED: RetryRule(86400, 1),
    Outcome.CONGESTION: RetryRule(300, 10),
    Outcome.EXPIRED: RetryRule(5, 100),
    Outcome.CANCELLED: RetryRule(3600, 3),
    Outcome.FAILED: RetryRule(3600, 2),
    Outcome.MACHINE: RetryRule(14400, 3),
    Outcome.ABANDONED: RetryRule(86400, 1),
    Outcome.HUNG_UP_WAITING: RetryRule(86400, 1),
    Outcome.UNKNOWN: RetryRule(86400, 1),
}


@dataclass(frozen=True, slots=True)
class CampaignSettings:
    """One version of a campaign's settings. Times in seconds unless said otherwise."""

    mode: DialMode = DialMode.PROGRESSIVE
    purpose: Purpose = Purpose.SERVICE
    dial_ratio: float = 1.0  # calls per free agent, ratio mode
    ratio_cap: float = 3.0
    target_abandon: float = 0.01  # share of live answers
    connect_window: float = 2.0
    ring_timeout: float = 25.0
    #: Rings at least this long before it may be given up because nobody would be free (predictive),
    #: and as long as the profile asks; 0 = never.
    give_up_after: float = 15.0
    wrap_up: float = 60.0  # after that the agent is made ready with outcome "none"; 0 = no limit
    preview_timeout: float = 0.0  # 0 = the agent decides
    trunks: tuple[str, ...] = ()  # in order of preference; empty: any
    caller_id: str = ""
    abandon_sound: str = "dialer-abandon"
    analyse: bool = False
    record: bool = True
    rules_profile: str = "us_tsr"
    retries: Mapping[Outcome, RetryRule] = field(default_factory=lambda: dict(DEFAULT_RETRIES))
    max_attempts: int = 6  # per lead, in all
    min_gap: float = 0.0  # between attempts to one person, on top of the profile's
    calling_hours: tuple[tuple[int, int], ...] = ()  # (minute of day from, to), narrower than law


@dataclass(frozen=True, slots=True)
class DispositionCode:
    """An outcome code agents choose from: what it means for the lead and for the figures."""

    code: str
    label: str
    contact: bool = False
    effective: bool = False
    success: bool = False
    refusal: bool = False
    complaint: bool = False
    callback: bool = False
    final: bool = True  # the lead is done; otherwise `retry_delay` seconds later again
    do_not_call: bool = False
    retry_delay: float = 86400.0


@dataclass(frozen=True, slots=True)
class CampaignView:
    """What an engine knows of a campaign."""

    id: UUID
    client_id: UUID
    pool_id: UUID
    name: str
    state: CampaignState
    version: int  # of the settings
    settings: CampaignSettings
    dispositions: Mapping[str, DispositionCode]
    script_version: int = 0
    form_version: int = 0

    def moved(self, state: CampaignState) -> CampaignView:
        """The same campaign in another state."""
        return replace(self, state=state)
