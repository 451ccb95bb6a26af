"""`python -m tests.bench [NAME]`: measurements as JSON lines; exits 1 when a goal is missed."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping

from tests.bench import bridge, capacity, originate, sockets

BENCHES: Mapping[str, Callable[[], Awaitable[bool]]] = {
    "originate": originate.run,
    "bridge": bridge.run,
    "capacity": capacity.run,
    "websockets": sockets.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench NAME=...", description=__doc__)
    parser.add_argument("name", nargs="?", help=f"one of {', '.join(BENCHES)}; without: all")
    parser.add_argument("--list", action="store_true", help="the names, one a line")
    chosen = parser.parse_args()
    if chosen.list:
        print("\n".join(BENCHES))
        return 0
    if chosen.name and chosen.name not in BENCHES:
        print(f"no bench {chosen.name!r}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    names = [chosen.name] if chosen.name else list(BENCHES)
    good = [asyncio.run(BENCHES[name]()) for name in names]  # type: ignore[arg-type]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
