"""What can be chosen about the demo, from the environment: DIALER_DEMO_..."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from tests.lab.process import free_port

API_PORT, SIP_PORT = 8080, 5060  # the usual ones


class BadOption(ValueError):
    """A value that cannot be; the message says what could."""


@dataclass(frozen=True, slots=True)
class Options:
    """`port` and `sip_port` 0: the usual one, or a free one where that is taken."""

    leads: int = 600
    agents: int = 10
    seats: int = 3
    host: str = "127.0.0.1"
    port: int = 0
    sip_port: int = 0
    retry: int | None = None  # s between tries; by outcome where nothing is said
    nodes: int = 1  # dialers, and as many Asterisk nodes
    exit: bool = False  # when the campaign is finished, instead of waiting for Ctrl-C

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Options:
        """From the environment; raises BadOption."""
        usual = cls()
        retry = _whole(environment, "RETRY", -1, least=0, most=86_400)
        options = cls(
            leads=_whole(environment, "LEADS", usual.leads, least=1, most=50_000),
            agents=_whole(environment, "AGENTS", usual.agents, least=1, most=60),
            seats=_whole(environment, "SEATS", usual.seats, least=0, most=20),
            host=environment.get("DIALER_DEMO_HOST") or usual.host,
            port=_whole(environment, "PORT", usual.port, least=1, most=65535),
            sip_port=_whole(environment, "SIP_PORT", usual.sip_port, least=1, most=65535),
            nodes=_whole(environment, "NODES", usual.nodes, least=1, most=4),
            retry=retry if retry >= 0 else None,
            exit=environment.get("DIALER_DEMO_EXIT", "") not in ("", "0"),
        )
        _own_address(options.host)
        return options

    def api_port(self) -> int:
        return self.port or _usual(self.host, API_PORT, socket.SOCK_STREAM)

    def phones_port(self) -> int:
        return self.sip_port or _usual(self.host, SIP_PORT, socket.SOCK_DGRAM)


def _whole(
    environment: Mapping[str, str], name: str, default: int, *, least: int, most: int
) -> int:
    text = environment.get(f"DIALER_DEMO_{name}", "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise BadOption(f"DIALER_DEMO_{name}: expected {least} to {most}, got {text[:40]!r}")
    return int(text)


def _own_address(host: str) -> None:
    """An IPv4 address that programs here can listen on; raises BadOption."""
    try:
        if ip_address(host).version != 4 or ip_address(host).is_unspecified:
            raise ValueError
        free_port(host)
    except (ValueError, OSError):
        raise BadOption(
            f"DIALER_DEMO_HOST: expected an IPv4 address of this machine, got {host[:60]!r}"
        ) from None


def _usual(host: str, port: int, kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:  # as servers do: a port that was in use just now is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return free_port(host, kind=kind)
    return port
