"""The guard against being made to call our own network (SSRF).

A URL is taken apart once, by one parser; what is called is put together from the parts. The name is
resolved here, every address it has must be allowed, and the connection is made to the address that
was checked: a name that answers differently the second time (rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from dialer.webhooks.addresses import Address, Network, allowed, parsed, within

#: (host, port) -> the addresses it has; raises OSError.
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

MOST_URL = 1000  # characters
_PORTS = {"https": 443, "http": 80}
_UNWRITTEN = re.compile(r"[\x00-\x20\x7f-\x9f\\^`{|}<>\"\u2028\u2029]")
_HOST = re.compile(r"^(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$")
_MOST_ADDRESSES = 16


class Refused(Exception):
    """This URL is not called. `reason`: a word; nothing of what the network looks like inside."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart. `host`: ASCII, an IPv6 address without brackets; `path`: with query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be called. `networks`: allowed besides what is globally routable; `http`: without
    TLS, inside those networks only."""

    ports: tuple[int, ...] = (443, 8443)
    networks: tuple[Network, ...] = ()
    http: bool = False
    resolve_seconds: float = 5.0


def take_apart(text: str) -> Target:
    """Raises Refused for what is no plain http(s) URL."""
    if len(text) > MOST_URL:
        raise Refused("url", f"a URL has at most {MOST_URL} characters")
    if _UNWRITTEN.search(text) or not text.isprintable():
        raise Refused("url", "the URL has a character that URLs have not")
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii").lower()
        port, path = url.port, url.raw_path.decode("ascii")
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise Refused("url", "this is no URL") from None
    if url.scheme not in _PORTS:
        raise Refused("scheme", "the URL begins with https://")
    if url.userinfo or "@" in text.split("://", 1)[-1].split("/", 1)[0]:
        raise Refused("userinfo", "the URL names a user: receivers check the signature instead")
    if url.fragment or "#" in text:
        raise Refused("url", "the URL has a fragment, which is never sent")
    if ":" in host:
        try:
            host = str(parsed(host))
        except ValueError:
            raise Refused("host", "the URL's host is no address") from None
        if "%" in host:
            raise Refused("host", "the URL's host is an address of one link only")
    elif len(host) > 253 or not _HOST.match(host):
        raise Refused("host", "the URL has no host, or one that cannot be")
    if not path.startswith("/"):
        path = f"/{path}"
    if port is not None and not 1 <= port <= 65535:
        raise Refused("port", "there is no such port")
    return Target(url.scheme, host, port or _PORTS[url.scheme], path)


class Resolver:
    """The system's resolver, in threads of its own: a dead name server must hold up nobody else.

    A look-up cannot be ended, only left alone. Whoever asks for a name that is being looked up
    shares the answer, so that one dead name takes one thread, however often it is asked for.
    """

    def __init__(
        self, *, threads: int = 8, look_up: Callable[[str, int], list[str]] | None = None
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="webhook-names")
        self._look_up = look_up or _look_up
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        key = (host, port)
        asked = self._under_way.get(key)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._threads, self._look_up, host, port)
            self._under_way[key] = asked
            asked.add_done_callback(lambda done: self._known(key, done))
        return [parsed(text) for text in dict.fromkeys(await asyncio.shield(asked))]

    def _known(self, key: tuple[str, int], done: asyncio.Future[list[str]]) -> None:
        self._under_way.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever asked may have gone meanwhile

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(address[0]) for *_, address in found]


class Guard:
    """Says whether a URL may be called, and at which addresses."""

    def __init__(self, policy: Policy, resolve: Resolve) -> None:
        self._policy, self._resolve = policy, resolve

    def read(self, text: str) -> Target:
        """The URL taken apart, its scheme and port allowed; raises Refused."""
        target = take_apart(text)
        if target.scheme == "http" and not self._policy.http:
            raise Refused("scheme", "the URL begins with https://")
        if target.port not in self._policy.ports:
            ports = ", ".join(map(str, self._policy.ports))
            raise Refused("port", f"only these ports may be called: {ports}")
        return target

    async def check(self, text: str) -> tuple[Target, Sequence[Address]]:
        """The target and the addresses to connect to, all of them allowed; raises Refused.

        One refused address refuses the name: a name that is half inside is no receiver's.
        """
        target = self.read(text)
        networks = self._policy.networks
        addresses = await self._addresses(target)
        if not addresses or not all(allowed(a, networks) for a in addresses):
            raise _elsewhere()
        if target.scheme == "http" and not all(within(a, networks) for a in addresses):
            raise Refused("scheme", "the URL begins with https://")
        return target, addresses

    async def _addresses(self, target: Target) -> Sequence[Address]:
        try:
            return [parsed(target.host)]
        except ValueError:
            pass
        try:
            async with asyncio.timeout(self._policy.resolve_seconds):
                found = await self._resolve(target.host, target.port)
        except (OSError, TimeoutError, UnicodeError, ValueError):
            raise _elsewhere() from None
        if len(found) > _MOST_ADDRESSES:
            raise _elsewhere()
        return found


def _elsewhere() -> Refused:
    """One answer for names that are not there and names that lead inside: which of the two it was
    would tell what is there."""
    return Refused("address", "the host has no address that may be called")
