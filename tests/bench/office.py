"""`dialer serve` with the switch in memory: the whole process that screens talk to, with its
database, but no Asterisk, so that half a thousand agents fit on a small machine.

Settings come from the environment as always. At its end it writes the monotonic second of each
answer by call, to the file named by BENCH_UPS.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

from api.cli.start import load_settings
from api.runtime import Runtime, serve
from api.settings import NodeSettings, Settings
from telephony.events import CallAnswered, SwitchEvent
from telephony.switch import EventSink, Switch
from telephony.twin import Behaviour, TwinNode, TwinSwitch

TALK = (4.5, 6.5)  # s until the person hangs up


def public(number: str) -> Behaviour:
    """Everybody answers soon, and talks for a while."""
    rng = random.Random(number)
    return Behaviour(delay=rng.uniform(0.1, 0.4), talk=rng.uniform(*TALK))


class Ups:
    """Notes when calls were answered."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    def hear(self, event: SwitchEvent) -> None:
        if isinstance(event, CallAnswered):
            self.at[event.call_id] = event.at

    def node_gone(self) -> None: ...

    def node_back(self) -> None: ...


class OfficeRuntime(Runtime):
    """Every node is one in memory."""

    def __init__(self, settings: Settings) -> None:
        self.ups = Ups()
        super().__init__(settings)

    def _maker(self, node: NodeSettings) -> Any:
        def make(sink: EventSink) -> Switch:
            twin = TwinNode(
                node.name, clock=self.clock, public=public, records=False,
                phones=lambda endpoint: Behaviour(delay=0.05),
            )  # fmt: skip
            twin.attach(self.ups)
            return TwinSwitch(twin, sink=sink, clock=self.clock)

        return make

    async def stop(self) -> None:
        await super().stop()
        Path(os.environ["BENCH_UPS"]).write_text(json.dumps(self.ups.at))


if __name__ == "__main__":
    sys.exit(asyncio.run(serve(load_settings(), make=OfficeRuntime)))
