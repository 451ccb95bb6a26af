"""The switch port: what the dialer asks of one Asterisk node.

Two implementations pass the same contract tests: `telephony.ami` (the real one) and
`telephony.twin` (in memory, used by tests, benches and the simulator).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from telephony.events import CallId, ChannelSnapshot, LegId, SwitchEvent

EventSink = Callable[[SwitchEvent], None]


class SwitchError(Exception):
    """An action did not succeed. The subclass says what may have happened."""


class NotSent(SwitchError):
    """Certainly not sent: link down, or a value refused. Nothing happened."""


class Refused(SwitchError):
    """Asterisk answered with an error: nothing happened."""


class Unanswered(SwitchError):
    """Sent, and no answer came: it may have happened or not."""


@dataclass(frozen=True, slots=True)
class Originate:
    """Place one outbound call. An answered call lands in the dialplan that keeps people safe."""

    call_id: CallId
    number: str  # as the trunk wants it, digits and a leading +
    trunk: str
    caller_id: str  # number presented
    ring_timeout: float  # seconds
    connect_window: float  # seconds the person may wait in silence
    abandon_sound: str  # Asterisk sound name of the abandon message
    analyse: bool = False  # answering-machine detection first
    record: str = ""  # file for the conversation, relative to the node's recording folder
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Begun:
    """An action that has left. Awaiting it waits for its end and raises what that was; unlike a
    coroutine it may be dropped."""

    end: Callable[[], Coroutine[Any, Any, None]]

    def __await__(self) -> Generator[Any, None, None]:
        return self.end().__await__()


class Switch(Protocol):
    """One node. Commands raise `SwitchError`; events go to the sink given at construction.

    Every command is bounded in time by the implementation's own time-out.
    """

    @property
    def node(self) -> str: ...

    @property
    def is_up(self) -> bool: ...

    async def start(self) -> None:
        """Connect and keep connected, with jittered backoff; `NodeUp` follows when it works."""
        ...

    async def stop(self) -> None: ...

    async def originate(self, request: Originate) -> None:
        """Returns when Asterisk queued the call. Exactly one `CallEnded` follows unless NotSent
        or Refused was raised; also after Unanswered (by events, or by resynchronisation)."""
        ...

    async def call_leg(
        self, leg_id: LegId, *, endpoint: str, caller_id: str, ring_timeout: float
    ) -> None:
        """Call an agent's phone (`endpoint` is a PJSIP endpoint's name); it parks when answered."""
        ...

    def bridge(self, call_id: CallId, leg_id: LegId, *, beep: bool = True) -> Begun:
        """Join a person to an agent's leg. `CallBridged` says when both are in one bridge. The
        action leaves with the call itself (which may raise), not with the first await."""
        ...

    async def hang_up(self, channel_id: CallId | LegId) -> None:
        """End a call or a leg; idempotent: a channel that is gone is no error."""
        ...

    async def ring_tone(self, leg_id: LegId, *, on: bool) -> None:
        """Let the agent hear ringing while a preview or manual call is being placed."""
        ...

    async def redirect(self, channel_id: CallId | LegId, *, context: str, exten: str) -> None: ...

    async def play(self, channel_id: CallId | LegId, sound: str) -> None:
        """Play a sound to a channel that is not bridged; a leg parks again afterwards."""
        ...

    async def stop_recording(self, call_id: CallId) -> None: ...

    async def pause_recording(self, call_id: CallId, *, paused: bool) -> None:
        """Mute the recording, e.g. while a card number is read out."""
        ...

    async def channels(self) -> Sequence[ChannelSnapshot]:
        """All live channels of the node. Ours among them are followed from now on, also those that
        another dialer placed on it: a new owner goes on with them."""
        ...

    async def reload_phones(self) -> None:
        """Make Asterisk read the provisioned phone accounts again."""
        ...
