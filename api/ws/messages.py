"""Every message of both websockets, as models.

Commands are validated by them, what the dialer sends is held to them by tests, and the AsyncAPI
file is made from them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.models import Note, Number, Text, Word
from dialer.domain.agent import AgentEvent, AgentState
from dialer.domain.call import CallState, Outcome
from dialer.domain.campaign import CampaignState, DialMode

Seq = Annotated[
    str,
    Field(
        pattern=r"^[0-9]+-[0-9]+$",
        max_length=40,
        description="Place in the topic, `epoch-n`. Give the last one seen as `resume`.",
    ),
]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Auth(Strict):
    """The first message of a socket, within five seconds."""

    type: Literal["auth"]
    token: Annotated[str, Field(max_length=4096, description="From POST /api/v1/tokens.")]
    resume: Annotated[str, Field(max_length=40)] | None = Field(
        None, description="`seq` of the last message seen: what was missed follows, once, in order."
    )


class Command(Strict):
    """What an agent asks for; the reply carries the same id."""

    type: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
    id: Annotated[str, Field(max_length=60, pattern=r"^[A-Za-z0-9_.\-]*$")] = ""
    data: dict[str, Any] = Field(default_factory=dict)


# -- commands of agents


class SignIn(Strict):
    """Call my phone; its call stays up until I sign out."""


class SignOut(Strict):
    """Sign out, after the conversation if there is one."""


class Ready(Strict):
    """Give me calls; out of wrap-up: without an outcome."""


class Pause(Strict):
    """No calls, at once or after the one at hand."""

    reason: Text = Field("", examples=["lunch"])


class HangUp(Strict):
    """End the conversation, or the call that is being placed for me."""


class Disposition(Strict):
    """What came of the call; ends wrap-up."""

    call_id: UUID
    code: Word = Field(examples=["success"])
    note: Note = ""
    form: dict[Annotated[str, Field(max_length=60)], Text | int | float | bool | None] = Field(
        default_factory=dict, max_length=100
    )
    callback_at: Annotated[str, Field(max_length=40)] | None = Field(
        None, description="ISO 8601 with offset, for codes that ask for it."
    )
    callback_mine: bool = Field(False, description="The callback comes to me, not to anyone.")
    then: Literal["ready", "pause"] = "ready"


class ManualCall(Strict):
    """Call this lead or this number now, under the campaign's rules."""

    campaign_id: UUID
    number: Number | None = Field(None, examples=["+12125550100"])
    lead_id: UUID | None = None


class PreviewDial(Strict):
    """Call the person shown."""


class PreviewSkip(Strict):
    """Not this one now; it comes back in ten minutes."""


class AskSnapshot(Strict):
    """The present state as the reply."""


COMMANDS: dict[str, type[Strict]] = {
    "sign_in": SignIn,
    "sign_out": SignOut,
    "ready": Ready,
    "pause": Pause,
    "hang_up": HangUp,
    "disposition": Disposition,
    "manual_call": ManualCall,
    "preview_dial": PreviewDial,
    "preview_skip": PreviewSkip,
    "snapshot": AskSnapshot,
}


# -- what agents are sent


class State(Strict):
    """The agent's state, whenever it changes."""

    state: AgentState
    reason: str
    since: datetime | None
    pending: AgentEvent | None = Field(description="Asked for and to be done after the call.")


class NamedCampaign(Strict):
    id: UUID
    name: str


class ShownCustomer(Strict):
    id: UUID
    name: str
    number: str
    attributes: dict[str, Any]


class ShownLead(Strict):
    id: UUID
    attempts: int
    callback_at: datetime | None = None


class CodeChoice(Strict):
    code: str
    label: str


class Pop(Strict):
    """Who is (about to be) on the line: sent with the bridge, before the first word."""

    call_id: UUID
    campaign: NamedCampaign
    customer: ShownCustomer
    lead: ShownLead
    script: int = Field(description="Version of the script, 0 without one.")
    form: int = Field(description="Version of the form, 0 without one.")
    dispositions: list[CodeChoice]
    mode: DialMode
    answered_at: datetime | None


class PreviewLead(Strict):
    id: UUID
    attempts: int


class Preview(Strict):
    """A person to look at before the call; answer with preview_dial or preview_skip."""

    campaign: NamedCampaign
    customer: ShownCustomer
    lead: PreviewLead


class CallProgress(Strict):
    """The call moved on."""

    call_id: UUID
    state: CallState


class CallEnded(Strict):
    """The call is over; wrap-up begins when there was a conversation."""

    call_id: UUID
    outcome: Outcome
    by: str = Field(description="agent, customer or network; '' when nobody was connected.")


class Notice(Strict):
    """Something the agent should know."""

    slug: str = Field(examples=["phone-lost"])
    detail: str


class SnapshotCall(Pop):
    """The call at hand, or the one being wrapped up."""

    state: CallState


class WorkedCampaign(Strict):
    id: UUID
    name: str
    mode: DialMode


class Snapshot(Strict):
    """All an agent's screen needs: the first message for who does not resume or was away too long.

    `unavailable`: no engine runs the agent's pool now; a later message says when it does.
    """

    state: AgentState | Literal["unavailable"]
    reason: str
    since: datetime | None
    pending: AgentEvent | None
    call: SnapshotCall | None
    preview: Preview | None
    campaigns: list[WorkedCampaign]


AGENT_EVENTS: dict[str, type[Strict]] = {
    "snapshot": Snapshot,
    "state": State,
    "pop": Pop,
    "preview": Preview,
    "call": CallProgress,
    "call_ended": CallEnded,
    "notice": Notice,
}


class Problem(BaseModel):
    """As in the REST interface (RFC 9457); more fields where they help."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str


class Done(Strict):
    """A command was carried out."""

    type: Literal["reply"]
    id: str
    ok: Literal[True]
    data: dict[str, Any]


class Refused(Strict):
    """A command was not carried out, and why."""

    type: Literal["reply"]
    id: str
    ok: Literal[False]
    problem: Problem


# -- what supervisors are sent


class AnsweredLast(Strict):
    """A person who answered lately: no name, no number."""

    call: UUID
    at: datetime = Field(description="When the call ended.")
    agent: str = Field(description="The agent's name; '' when nobody came.")
    outcome: Outcome
    waited: float = Field(description="Seconds from the answer to the agent, or to the end.")
    talked: float = Field(description="Seconds.")


class CampaignFigures(Strict):
    """One campaign: attempts and abandoned calls in its abandon window, leads as counted lately.

    A finished campaign is there for another day, while its engine runs.
    """

    id: UUID
    name: str
    state: CampaignState
    reason: str
    mode: DialMode
    outcomes: dict[str, int]
    attempts: int
    live_answers: int
    abandoned: int
    abandon_low: float
    abandon_high: float
    abandon_cap: float
    abandon_hours: float = Field(description="How far back outcomes and abandoned calls count.")
    leads: dict[str, int] = Field(
        description="total, due (may be called now), later, dialing, callback, done, blocked."
    )
    next_due: datetime | None = Field(description="When the next of the later ones may be called.")
    recent: list[AnsweredLast] = Field(description="Who answered last, oldest first.")
    calls_per_minute: int
    decision: dict[str, Any] = Field(
        description="The last tick's, empty before the first: calls, cancelled (ringing ones given "
        "up), reason, binding, agents; in predictive mode its forecast, as in GET "
        "/api/v1/campaigns/{campaign_id}/decisions."
    )


class WaitingPersons(Strict):
    """Persons who answered and have no agent yet."""

    persons: int
    longest: float = Field(description="Seconds the first of them waits.")


class TrunkFigures(Strict):
    name: str
    node: str
    up: bool
    lines: int
    used: int
    breaker: str
    reason: str


class NodeFigures(Strict):
    name: str
    up: bool


class Percentiles(Strict):
    """Milliseconds; null before the first call."""

    p50: float | None
    p99: float | None


class Figures(Strict):
    """A pool's live figures, once a second; not kept for who was away."""

    at: datetime
    pool: UUID
    agents: dict[str, int] = Field(description="Agents by state.")
    longest: dict[str, float] = Field(description="Seconds of who is longest in that state.")
    calls: dict[str, int] = Field(description="Live calls by state.")
    waiting: WaitingPersons
    occupancy: float | None = Field(
        description="Share of agents' working time on calls and wrap-up, in the last five minutes."
    )
    campaigns: list[CampaignFigures]
    trunks: list[TrunkFigures]
    nodes: list[NodeFigures]
    calls_per_minute: int
    answer_to_bridge_ms: Percentiles


LIVE_EVENTS: dict[str, type[Strict]] = {"figures": Figures}
