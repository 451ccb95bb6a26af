"""`python -m tests.bench [NAME]`: measurements as JSON lines; exits 1 when a goal is missed."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping

from tests.bench import bridge, capacity, originate, pacing, predictive, soak, sockets, webhooks

BENCHES: Mapping[str, Callable[[], Awaitable[bool]]] = {
    "originate": originate.run,
    "bridge": bridge.run,
    "capacity": capacity.run,
    "websockets": sockets.run,
    "webhooks": webhooks.run,
    "soak": soak.run,
    "pacing": pacing.run_report,
    "predictive": predictive.run,
}
_HOURS = ("soak", "pacing", "predictive")  # only for those who ask for them


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench NAME=...", description=__doc__)
    names = ", ".join(BENCHES)
    parser.add_argument(
        "name", nargs="?", help=f"one of {names}; without: all but those that take hours"
    )
    parser.add_argument("--list", action="store_true", help="the names, one a line")
    chosen = parser.parse_args()
    if chosen.list:
        print("\n".join(BENCHES))
        return 0
    if chosen.name and chosen.name not in BENCHES:
        print(f"no bench {chosen.name!r}; there are: {names}", file=sys.stderr)
        return 2
    asked = [chosen.name] if chosen.name else [name for name in BENCHES if name not in _HOURS]
    good = [asyncio.run(BENCHES[name]()) for name in asked]  # type: ignore[arg-type]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
