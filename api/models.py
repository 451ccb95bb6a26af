"""What comes in and goes out, validated at the edge. Unknown fields are refused."""

from __future__ import annotations

from datetime import datetime
from math import isfinite
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dialer.compliance.hours import zone_info
from dialer.domain.call import Outcome
from dialer.domain.campaign import (
    CampaignSettings,
    CampaignState,
    DialMode,
    DispositionCode,
    Purpose,
    RetryRule,
)

_MOST_INTEGER = 2**53 - 1  # what every JSON reader keeps exactly


def _encodable(value: str) -> str:
    if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        raise ValueError("half a character is not allowed")
    return value


def _printable(value: str) -> str:
    if any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" for c in value):
        raise ValueError("control characters are not allowed")
    return _encodable(value)


def _note(value: str) -> str:
    if any((ord(c) < 32 and c not in "\n\t") or ord(c) == 127 for c in value):
        raise ValueError("control characters are not allowed")
    return _encodable(value)


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) > 100:
        raise ValueError("at most 100 attributes")
    for key, item in value.items():
        _printable(key)
        if len(key) > 60:
            raise ValueError("an attribute's name has at most 60 characters")
        if isinstance(item, str):
            if len(_note(item)) > 2000:
                raise ValueError("an attribute's text has at most 2000 characters")
        elif item is not None and not isinstance(item, (bool, int, float)):
            raise ValueError("attributes are text, numbers, true, false or null")
        elif isinstance(item, float) and not isfinite(item):
            raise ValueError("an attribute's number is finite")
        elif isinstance(item, int) and abs(item) > _MOST_INTEGER:
            raise ValueError("an attribute's whole number has at most 53 bits")
    return value


def _known_zone(value: str) -> str:
    if value and zone_info(value) is None:
        raise ValueError("no time zone of this name (IANA, such as America/New_York)")
    return value


Text = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
Title = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@\-]{0,99}$")]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9\-]{0,39}$")]
Note = Annotated[str, Field(max_length=10_000), AfterValidator(_note)]
Attributes = Annotated[dict[str, Any], AfterValidator(_flat)]
Zone = Annotated[
    str,
    Field(max_length=60, pattern=r"^([A-Za-z]+(/[A-Za-z0-9_+\-]+)*)?$"),
    AfterValidator(_known_zone),
]
Number = Annotated[str, Field(min_length=3, max_length=40, pattern=r"^[0-9+() ./\-]+$")]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


Row = TypeVar("Row", bound=BaseModel)


class Page(BaseModel, Generic[Row]):
    """Rows, and the cursor of the next page: null on the last one."""

    items: list[Row]
    next: str | None


class SignIn(Model):
    login: Word
    password: Annotated[str, Field(min_length=1, max_length=200)]


class Token(Model):
    token: str
    expires_in: int


class Retry(Model):
    """After this outcome: again after `delay` seconds, at most `most` times."""

    delay: Annotated[float, Field(ge=0, le=90 * 86400)]
    most: Annotated[int, Field(ge=0, le=100)]


class Settings(Model):
    """A campaign's settings. Seconds unless said otherwise."""

    mode: DialMode = DialMode.PROGRESSIVE
    purpose: Purpose = Purpose.SERVICE
    dial_ratio: Annotated[float, Field(ge=1, le=10)] = 1.0
    ratio_cap: Annotated[float, Field(ge=1, le=10)] = 3.0
    target_abandon: Annotated[float, Field(ge=0, le=1)] = 0.01
    connect_window: Annotated[float, Field(gt=0, le=10)] = 2.0
    ring_timeout: Annotated[float, Field(ge=5, le=120)] = 25.0
    give_up_after: Annotated[float, Field(ge=0, le=120)] = 15.0
    wrap_up: Annotated[float, Field(ge=0, le=3600)] = 60.0
    preview_timeout: Annotated[float, Field(ge=0, le=3600)] = 0.0
    trunks: tuple[Slug, ...] = ()
    caller_id: Annotated[str, Field(pattern=r"^(\+?[0-9]{2,20})?$")] = ""
    abandon_sound: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_/\-]{0,199}$")] = (
        "dialer-abandon"
    )
    analyse: bool = False
    record: bool = True
    rules_profile: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")] = "us_tsr"
    retries: dict[Outcome, Retry] | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 6
    min_gap: Annotated[float, Field(ge=0, le=90 * 86400)] = 0.0
    calling_hours: tuple[
        tuple[Annotated[int, Field(ge=0, le=1440)], Annotated[int, Field(ge=0, le=1440)]], ...
    ] = ()

    def domain(self) -> CampaignSettings:
        values = self.model_dump(exclude={"retries"})
        if self.retries is not None:
            values["retries"] = {o: RetryRule(r.delay, r.most) for o, r in self.retries.items()}
        return CampaignSettings(**values)


class Disposition(Model):
    """An outcome code agents choose from."""

    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_\-]{0,39}$")]
    label: Title
    contact: bool = False
    effective: bool = False
    success: bool = False
    refusal: bool = False
    complaint: bool = False
    callback: bool = False
    final: bool = True
    do_not_call: bool = False
    retry_delay: Annotated[float, Field(ge=0, le=365 * 86400)] = 86400.0

    def domain(self) -> DispositionCode:
        return DispositionCode(**self.model_dump())


DEFAULT_DISPOSITIONS = (
    Disposition(code="success", label="Success", contact=True, effective=True, success=True),
    Disposition(code="refused", label="Not interested", contact=True, refusal=True),
    Disposition(code="callback", label="Call back", contact=True, callback=True, final=False),
    Disposition(code="not_reached", label="Wrong person", final=False),
    Disposition(code="do_not_call", label="Do not call again", refusal=True, do_not_call=True),
)


class NewCampaign(Model):
    name: Title
    settings: Settings = Field(default_factory=Settings)
    dispositions: Annotated[tuple[Disposition, ...], Field(min_length=1, max_length=100)] = (
        DEFAULT_DISPOSITIONS
    )
    pool_id: UUID | None = None


class ChangedCampaign(Model):
    settings: Settings
    dispositions: Annotated[tuple[Disposition, ...], Field(min_length=1, max_length=100)] | None = (
        None
    )


class Campaign(BaseModel):
    id: UUID
    name: str
    state: str
    reason: str
    version: int
    pool_id: UUID
    settings: dict[str, Any]
    dispositions: list[dict[str, Any]]
    created_at: datetime


class Upload(Model):
    """Rows are checked one by one; bad ones are rejected with a reason, the others kept."""

    name: Title
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    leads: Annotated[list[dict[str, Any]], Field(min_length=1)]


class LeadRow(Model):
    """One row of an upload."""

    number: Annotated[str, Field(max_length=40)]
    name: Text = ""
    external_key: Annotated[str, Field(max_length=100), AfterValidator(_printable)] = ""
    zone: Zone = ""
    consent: bool = False
    attributes: Attributes = Field(default_factory=dict)


class Rejected(BaseModel):
    row: int  # counted from 0
    reason: str


class Uploaded(BaseModel):
    list_id: UUID
    accepted: int
    rejected: list[Rejected]
    campaign_state: CampaignState  # `finished`: nobody is called until it is started again


class NewAgent(Model):
    """An agent, their phone, and (with a password) their account."""

    name: Title
    endpoint: Slug
    login: Word | None = None
    password: Annotated[str, Field(min_length=8, max_length=200)] | None = None
    node: Slug | None = None
    contact: Annotated[
        str, Field(max_length=200, pattern=r"^(sip:[A-Za-z0-9._\-]+@[A-Za-z0-9.:\-]+)?$")
    ] = ""
    campaigns: Annotated[tuple[UUID, ...], Field(max_length=1000)] = ()


class Agent(BaseModel):
    id: UUID
    name: str
    endpoint: str
    node: str
    login: str | None = None
    disabled: bool = False
    campaigns: list[UUID] = Field(default_factory=list)
    phone_password: str | None = None  # shown once, when it is made


class ChangedAgent(Model):
    """Only what is named is changed. A disabled agent is signed out after the call at hand."""

    name: Title | None = None
    disabled: bool | None = None


class Assignment(Model):
    campaigns: Annotated[tuple[UUID, ...], Field(max_length=1000)]


class NewAccount(Model):
    login: Word
    password: Annotated[str, Field(min_length=8, max_length=200)]
    role: Literal["admin", "supervisor", "quality", "agent", "integration"]


class ChangedAccount(Model):
    """Only what is named is changed."""

    role: Literal["admin", "supervisor", "quality", "agent", "integration"] | None = None
    disabled: bool | None = None
    password: Annotated[str, Field(min_length=8, max_length=200)] | None = None


class Account(BaseModel):
    id: UUID
    login: str
    role: str
    disabled: bool


class Blocked(Model):
    number: Number
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None


class Call(BaseModel):
    """One attempt. `verdict` says why it was allowed."""

    id: UUID
    campaign_id: UUID
    customer_id: UUID
    number: str
    mode: str
    trunk: str
    outcome: str | None
    intended_at: datetime
    answered_at: datetime | None
    connected_at: datetime | None
    ended_at: datetime | None
    agent_id: UUID | None
    disposition: str | None
    note: str | None
    rules_profile: str
    verdict: dict[str, Any]


class CallInFull(Call):
    """An attempt with all that is known of it."""

    lead_id: UUID
    caller_id: str
    node: str
    sent_at: datetime | None
    ringing_at: datetime | None
    message_played: bool | None
    cause: int | None = Field(description="Q.850")
    tech_cause: str | None = Field(description="The network's own word, such as a SIP status.")
    ended_by: str | None
    form: dict[str, Any] | None
    wrap_up_seconds: float | None
    settings_version: int
    script_version: int
    form_version: int
