"""`dialer board`: the supervisors' live figures in a terminal, from the live websocket."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from api.cli.board.feed import LiveFeed, Refused
from api.cli.board.screen import Screen
from telephony.clock import SystemClock


def board(
    *,
    lines: Annotated[bool, Parameter(help="plain lines, also on a terminal")] = False,
) -> None:
    """Watch agents, calls and campaigns until Ctrl-C.

    DIALER_API and DIALER_TOKEN say where and as whom; the account needs the scope `live`. Without
    a terminal a line is printed every five seconds.
    """
    token = os.environ.get("DIALER_TOKEN", "")
    if not token:
        print("set DIALER_TOKEN to a bearer token (POST /api/v1/tokens)", file=sys.stderr)
        raise SystemExit(2)
    address = os.environ.get("DIALER_API", "http://127.0.0.1:8080")
    console = Console(force_terminal=False if lines else None)
    try:
        asyncio.run(_watch(address, token, console))
    except Refused as refused:
        print(f"the dialer refuses: {refused}", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:  # whoever read the lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _watch(address: str, token: str, console: Console) -> None:
    async def the_token() -> str:
        return token

    clock, stop = SystemClock(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    feed = LiveFeed(address, the_token, clock=clock)
    screen = Screen(feed, console, clock=clock, title=f"dialer  {address}")
    following = asyncio.create_task(feed.run(), name="feed")
    showing = asyncio.create_task(screen.show(stop), name="screen")
    try:
        await asyncio.wait([following, showing], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        following.cancel()
        results = await asyncio.gather(following, showing, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
