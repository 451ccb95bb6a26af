"""Shows a live feed until told to stop: as a board on a terminal, as lines anywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from api.cli.board.feed import LiveFeed
from api.cli.board.figures import Figures
from api.cli.board.plain import line
from api.cli.board.view import Scene, draw
from telephony.clock import Clock

_FRAME = 0.5  # s between pictures
_LINES = 5.0  # s between lines


class Screen:
    """One board on one console."""

    def __init__(
        self,
        feed: LiveFeed,
        console: Console,
        *,
        clock: Clock,
        title: str = "dialer",
        notes: Callable[[], Sequence[Text]] = tuple,
        people: Mapping[str, str] | None = None,
        every: float = _LINES,
    ) -> None:
        """`notes`: lines below the board. `people`: names by call, where they may be shown.
        `every`: seconds between lines where there is no terminal."""
        self._feed, self._console, self._clock = feed, console, clock
        self._title, self._notes = title, notes
        self._people = people if people is not None else {}  # it may fill up later
        self._every = every

    async def show(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        if self._console.is_terminal:
            await self._board(stop)
        else:
            await self._lines(stop)

    def scene(self) -> Scene:
        return Scene(
            figures=self._feed.figures,
            now=self._clock.now().astimezone(),
            title=self._title,
            problem=self._feed.problem,
            age=self._feed.age,
            notes=self._notes(),
            people=self._people,
        )

    async def _board(self, stop: asyncio.Event) -> None:
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            while not stop.is_set():
                live.update(draw(self.scene(), self._console), refresh=True)
                await _sleep(stop, _FRAME)

    async def _lines(self, stop: asyncio.Event) -> None:
        said = ""
        while not stop.is_set():
            figures, text = self._feed.figures, self._feed.problem
            if not text and figures is not None:
                text = line(figures)
            if text and text != said:
                self._say(text)
            said = text
            await self._pause(stop, figures)

    async def _pause(self, stop: asyncio.Event, shown: Figures | None) -> None:
        """Until the next line is due, or, before the first figures, until they come."""
        if shown is not None:
            await _sleep(stop, self._every)
            return
        self._feed.arrived.clear()
        waits = [asyncio.ensure_future(e.wait()) for e in (stop, self._feed.arrived)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _say(self, text: str) -> None:
        now = self._clock.now().astimezone()
        self._console.print(f"{now:%H:%M:%S} {text}", markup=False, highlight=False, soft_wrap=True)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
