"""A rules profile: calling rules as data, validated on load. Each value names its source.

Marks in the files: S = read in a source, K = general knowledge, G = our own guess. A profile is no
legal advice.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from math import inf
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from dialer.compliance.hours import Week, week_of

_LOOPBACK = ip_network("127.0.0.0/8")
_FOLDER = Path(__file__).resolve().parent / "profiles"

Minute = Annotated[int, Field(ge=0, le=1440)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Value(_Strict):
    value: Any
    mark: Annotated[str, Field(pattern="^[SKG]$")]
    source: str


class _File(_Strict):
    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_]{1,39}$")]
    version: Annotated[int, Field(ge=1)]
    title: str
    laboratory: bool = False
    rules: dict[str, _Value]


class _Rules(_Strict):
    """The values, typed. Times of day are minutes after local midnight, [from, to); a window that
    closes before it opens passes midnight and belongs to the day on which it opens."""

    hours: tuple[tuple[tuple[Minute, Minute], ...], ...] = Field(min_length=7, max_length=7)
    holidays_closed: bool
    abandon_cap: float = Field(ge=0, le=1)
    abandon_window: str
    abandon_hours: float = Field(gt=0)  # how far back the engine's ledger looks
    abandon_centre: bool  # the cap holds for all campaigns of a client together, too
    connect_within: float = Field(gt=0)  # s
    connect_from: str = Field(pattern="^(answer|greeting)$")  # where those seconds begin
    minimum_ring: float = Field(ge=0)  # s
    cancel_ringing: bool  # whether a call may be given up once it has rung that long
    caller_id_required: bool
    person_attempts: int = Field(ge=0)  # 0 = no limit
    person_attempts_hours: float = Field(ge=0)
    minimum_gap: float = Field(ge=0)  # s between attempts to one person
    abandon_rest_hours: float = Field(ge=0)  # no predictive recall after an abandoned call
    machine_rest_hours: float = Field(ge=0)
    consent_required: bool
    unknown_region: str = Field(pattern="^(block|allow)$")


@dataclass(frozen=True, slots=True)
class RulesProfile:
    """One version of one rule set."""

    name: str
    version: int
    laboratory: bool
    hours: Week
    holidays_closed: bool
    abandon_cap: float
    abandon_hours: float
    abandon_window: str
    abandon_centre: bool
    connect_within: float
    analysis_allowed: bool  # it takes longer than a window that is counted from the answer
    minimum_ring: float
    cancel_ringing: bool
    caller_id_required: bool
    person_attempts: int
    person_attempts_hours: float
    minimum_gap: float
    abandon_rest_hours: float
    machine_rest_hours: float
    consent_required: bool
    block_unknown_region: bool

    @property
    def key(self) -> str:
        """What is stored with an attempt: name@version."""
        return f"{self.name}@{self.version}"

    @property
    def cancel_after(self) -> float:
        """Seconds of ringing after which a call may be given up; inf: never."""
        return self.minimum_ring if self.cancel_ringing else inf


class UnknownProfile(LookupError):
    """No profile of this name is shipped."""


def known_profiles() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@lru_cache(maxsize=32)
def load_profile(name: str) -> RulesProfile:
    """The shipped profile; raises UnknownProfile, or ValueError for a broken file."""
    return parse_profile(profile_text(name))


def profile_text(name: str) -> str:
    """The file itself, with marks and sources; raises UnknownProfile."""
    if name not in known_profiles():
        raise UnknownProfile(f"no rules profile {name!r}; known: {', '.join(known_profiles())}")
    return (_FOLDER / f"{name}.toml").read_text()


def parse_profile(text: str) -> RulesProfile:
    """A profile from its file's text; raises ValueError."""
    file = _File.model_validate(tomllib.loads(text))
    rules = _Rules.model_validate({key: item.value for key, item in file.rules.items()})
    return RulesProfile(
        name=file.name,
        version=file.version,
        laboratory=file.laboratory,
        hours=week_of(rules.hours),
        holidays_closed=rules.holidays_closed,
        abandon_cap=rules.abandon_cap,
        abandon_hours=rules.abandon_hours,
        abandon_window=rules.abandon_window,
        abandon_centre=rules.abandon_centre,
        connect_within=rules.connect_within,
        analysis_allowed=rules.connect_from == "greeting",
        minimum_ring=rules.minimum_ring,
        cancel_ringing=rules.cancel_ringing,
        caller_id_required=rules.caller_id_required,
        person_attempts=rules.person_attempts,
        person_attempts_hours=rules.person_attempts_hours,
        minimum_gap=rules.minimum_gap,
        abandon_rest_hours=rules.abandon_rest_hours,
        machine_rest_hours=rules.machine_rest_hours,
        consent_required=rules.consent_required,
        block_unknown_region=rules.unknown_region == "block",
    )


def laboratory_allowed(hosts: tuple[str, ...]) -> bool:
    """Whether every trunk points into 127.0.0.0/8. Names are refused: they can be moved."""
    if not hosts:
        return False
    for host in hosts:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        if address.version != 4 or address not in _LOOPBACK:
            return False
    return True
