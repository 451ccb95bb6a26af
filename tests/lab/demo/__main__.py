"""Runs the demo until Ctrl-C, TERM, a hang-up of the terminal, or the death of a part.

Children are in process groups of their own, so that a signal to ours reaches only this program,
which then ends them in order: nothing is left running and no folder left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Coroutine
from typing import Any

import httpx
from rich.console import Console
from rich.text import Text

from api.cli.board.feed import LiveFeed, Refused
from api.cli.board.plain import summary
from api.cli.board.screen import Screen
from telephony.clock import SystemClock
from tests.lab.agents import LabAgent
from tests.lab.callcentre import LOGIN, CallCentre, Seat
from tests.lab.demo import campaign as demo
from tests.lab.demo.options import API_PORT, SIP_PORT, BadOption, Options
from tests.lab.dialers import LabDialer
from tests.lab.diligent import DiligentAgent

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class PartDied(RuntimeError):
    """A part ended that nobody asked to."""


class Demo:
    """One run."""

    def __init__(self, options: Options, console: Console) -> None:
        self._options, self._console = options, console
        self._start = time.monotonic()
        self._feed: LiveFeed | None = None
        self._seats: list[Seat] = []
        self._people: dict[str, str] = {}  # call -> name; they are invented, so they may be shown
        self._centre = CallCentre(
            agents=options.agents,
            seats=options.seats,
            nodes=options.nodes,
            dialers=options.nodes,
            lines=60,
            calls_per_second=20.0,
            host=options.host,
            port=options.api_port(),
            sip_port=options.phones_port(),
            say=lambda what: self.say(f"starting {what}"),
        )

    def say(self, text: str) -> None:
        self._console.print(
            f"{time.monotonic() - self._start:5.1f} s  {text}", markup=False, highlight=False,
            soft_wrap=True,
        )  # fmt: skip

    async def run(self) -> None:
        """Until cancelled, or until the campaign is finished where that was asked for. Raises
        PartDied."""
        for what, chosen, port, usual in (
            ("API", self._options.port, self._centre.port, API_PORT),
            ("SIP", self._options.sip_port, self._centre.asterisk.sip_port, SIP_PORT),
        ):
            if not chosen and port != usual:
                self.say(f"{what}: port {usual} is taken, {port} is used")
        async with self._centre:
            await _first(self._watch(), self._dial())

    async def _watch(self) -> None:
        """One part's end is the end of all, unless there are others to go on: then it is started
        again, as a service manager would."""
        centre = self._centre
        while True:
            ended = await centre.ended()
            part = next((p for p in (*centre.dialers, *centre.nodes) if p.child is ended), None)
            if self._options.nodes == 1 or part is None:
                raise PartDied(await centre.death())
            self.say(f"{ended.name} ended with code {ended.process.returncode}; starting it again")
            await (part.start() if isinstance(part, LabDialer) else part.restart())
            self.say(f"{ended.name} is back")

    async def _dial(self) -> None:
        centre, options = self._centre, self._options
        self.say(f"loading {options.leads} leads into the campaign {demo.NAME!r}")
        campaign = await centre.campaign(demo.NAME, **demo.settings(retry=options.retry))
        leads = demo.people(options.leads)
        for start in range(0, len(leads), 1000):
            await centre.load(campaign, leads[start : start + 1000])
        self.say(f"signing in {options.agents} agents, with {options.seats} seats for real phones")
        self._seats = await centre.add_seats([campaign])
        await centre.add_agents(
            [campaign], kind=DiligentAgent if options.nodes > 1 else LabAgent,
            addresses=centre.addresses, talk=(3.0, 9.0), wrap=(0.5, 2.5),
            on_message=self._on_message,
        )  # fmt: skip
        self.say("starting the campaign")
        await centre.post(f"/campaigns/{campaign}/start")
        self._console.print()
        self._console.print(*self.notes(), sep="\n", soft_wrap=True)
        self._console.print()
        await self._show()

    async def _show(self) -> None:
        clock = SystemClock()
        self._feed = LiveFeed(self._centre.address, self._token, clock=clock)
        screen = Screen(
            self._feed, self._console, clock=clock, title="dialer  make run", notes=self.notes,
            people=self._people,
        )  # fmt: skip
        await _first(
            self._feed.run(), screen.show(asyncio.Event()), self._until_finished(self._feed)
        )

    async def _until_finished(self, feed: LiveFeed) -> None:
        """Ends when the campaign is finished and that is to end the run; else says so, once."""
        while not _finished(feed):
            feed.arrived.clear()
            await feed.arrived.wait()
        if self._options.exit:
            return
        if not self._console.is_terminal:
            self.report()
            self.say("the campaign is finished; Ctrl-C ends the call centre")
        await asyncio.Event().wait()

    async def _token(self) -> str:
        try:
            return await self._centre.token(LOGIN, self._centre.password)
        except httpx.TransportError as error:  # it is being started again
            raise ConnectionError(str(error)) from None

    def _on_message(self, agent: LabAgent, message: dict[str, Any]) -> None:
        if message["type"] == "pop":
            self._people[message["data"]["call_id"]] = message["data"]["customer"]["name"]

    def notes(self) -> list[Text]:
        """Where everything is, and who may sign in as what."""
        centre = self._centre
        lines = [_note("API", f"{a}/api/v1", LOGIN, centre.password) for a in centre.addresses]
        if self._options.nodes > 1:
            pids = [
                f"{part.child.name} {part.child.process.pid}"
                for part in (*centre.dialers, *centre.nodes)
                if part.child is not None
            ]
            lines.append(
                Text("one may end (kill PID, kill -9 PID) and is started again: ", "grey62")
                .append(", ".join(pids), "bold white")
            )  # fmt: skip
        if self._seats:
            sip = f"{centre.host}:{centre.asterisk.sip_port}"
            lines.append(
                Text("seats for real phones (README.md): register at SIP server ", "grey62")
                .append(f"{sip}", "bold white")
                .append(" over UDP, the user is the login")
            )
            lines += [
                _note("seat", "", seat.login, seat.password)
                .append("   phone password ", style="grey62")
                .append(seat.phone_password, style="bold")
                for seat in self._seats
            ]
        if self._feed is not None and _finished(self._feed):
            lines.append(Text("The campaign is finished. Ctrl-C ends the call centre.", "bold"))
        else:
            lines.append(Text("Ctrl-C ends all of it.", style="grey62"))
        return lines

    def report(self) -> None:
        """What came of the campaign so far, if there are figures at all."""
        figures = self._feed.figures if self._feed is not None else None
        if figures is None:
            return
        for campaign in figures.campaigns:
            self._console.print()
            for line in summary(campaign, figures):
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _finished(feed: LiveFeed) -> bool:
    figures = feed.figures
    return figures is not None and any(
        c.name == demo.NAME and c.finished and c.done[1] for c in figures.campaigns
    )


def _note(what: str, where: str, login: str, password: str) -> Text:
    text = Text(f"{what:<5}", style="grey62")
    if where:
        text.append(where, style="bold").append("   ")
    text.append("login ", style="grey62").append(login, style="bold")
    return text.append("   password ", style="grey62").append(password, style="bold")


async def _first(*parts: Coroutine[Any, Any, None]) -> None:
    """Run them together until one ends; its error is ours, and the others end with it."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def main(options: Options, console: Console) -> int:
    """The exit code: 0 when it was ended or finished, 1 when something broke."""
    demo_run = Demo(options, console)
    work = asyncio.create_task(demo_run.run(), name="demo")
    asked: list[int] = []

    def end(number: int) -> None:
        if not asked:  # once: ending in order takes a moment, and must not be cut short
            asked.append(number)
            work.cancel()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    problem = ""
    try:
        await work
    except asyncio.CancelledError:
        if not asked:
            raise
    except (RuntimeError, OSError, TimeoutError, httpx.HTTPError, Refused) as error:
        if isinstance(error, BrokenPipeError):
            raise
        problem = f"{error}" or type(error).__name__
    demo_run.report()
    if problem:
        print(f"\nmake run: {problem}", file=sys.stderr)
        return 1
    demo_run.say("all parts have ended")
    return 0


if __name__ == "__main__":
    try:
        code = asyncio.run(main(Options.read(), Console()))
    except BadOption as error:
        print(f"make run: {error}", file=sys.stderr)
        code = 2
    except BrokenPipeError:  # whoever read the lines has seen enough
        code = 0
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    if code == 0 and not sys.stdout.isatty():
        # What cannot be written any more must not become a complaint at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(code)
