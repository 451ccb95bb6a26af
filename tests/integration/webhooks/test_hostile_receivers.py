"""Receivers that mean harm, on real sockets: nothing is read for them, nothing waits for them."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, ip_address
from pathlib import Path

import pytest

from dialer.domain.webhook import Attempted
from dialer.webhooks.addresses import Address
from dialer.webhooks.guard import Guard, Policy, Resolver
from dialer.webhooks.sender import Limits, Sender
from telephony.clock import SystemClock
from tests.lab.certificates import self_signed
from tests.lab.faults import injected

pytestmark = pytest.mark.integration

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LIMITS = Limits(connect=0.5, whole=1.0, rest=0.3)


class Receiver:
    """What came in: heads of requests, and how many bytes of an answer got out."""

    def __init__(self, port: int) -> None:
        self.port, self.heads, self.written = port, list[bytes](), 0


@asynccontextmanager
async def receiving(
    answer: Answer | bytes, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            receiver.heads.append(await reader.readuntil(b"\r\n\r\n"))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(take, host, 0, ssl=tls)
    receiver = Receiver(server.sockets[0].getsockname()[1])
    async with server:
        yield receiver


def sender(
    port: int, *, resolve: object = None, authorities: Path | None = None, limits: Limits = LIMITS
) -> Sender:
    policy = Policy(ports=(port,), networks=(IPv4Network("127.0.0.0/8"),), http=True)
    guard = Guard(policy, resolve or Resolver())  # type: ignore[arg-type]
    return Sender(guard, clock=SystemClock(), limits=limits, authorities=authorities)


async def tried(answer: Answer | bytes) -> tuple[Attempted, Receiver, float]:
    """A try at a receiver that answers so, and how long it took."""
    async with receiving(answer) as receiver:
        start = asyncio.get_running_loop().time()
        to = f"http://127.0.0.1:{receiver.port}/hooks"
        result = await sender(receiver.port).send(to, b"{}", {"webhook-id": "1"})
        return result, receiver, asyncio.get_running_loop().time() - start


async def test_an_event_is_posted_as_it_is_and_its_status_is_all_that_counts() -> None:
    result, receiver, _ = await tried(b"HTTP/1.1 202 X\r\nContent-Length: 2\r\n\r\nok")
    assert result == Attempted(202)
    head = receiver.heads[0].decode().lower()
    assert head.startswith("post /hooks http/1.1")
    assert f"host: 127.0.0.1:{receiver.port}\r\n" in head
    assert "webhook-id: 1\r\n" in head
    assert "cookie" not in head


@pytest.mark.parametrize(
    "to",
    ["http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:{}/admin", "/inside",
     "file:///etc/passwd"],
)  # fmt: skip
async def test_redirects_are_not_followed(to: str) -> None:
    async with receiving(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n") as inside:
        head = f"HTTP/1.1 302 X\r\nLocation: {to.format(inside.port)}\r\nContent-Length: 0\r\n\r\n"
        result, receiver, _ = await tried(head.encode())
        assert result == Attempted(302, "status 302")
        assert len(receiver.heads) == 1
        assert not inside.heads
    injected("webhooks: redirect inside")


async def test_an_answer_that_drips_costs_a_try_and_no_more() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Drip: 1\r\n" * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    result, _, took = await tried(drip)
    assert result == Attempted(None, "timeout")
    assert took < 3
    injected("webhooks: head that drips")


async def test_the_status_counts_when_the_body_drips_or_never_ends() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    result, _, took = await tried(drip)
    assert result == Attempted(200)
    assert took < 1.0
    written = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()
            written += 0x10000

    result, _, _ = await tried(endless)
    assert result == Attempted(200)
    assert written < 32 * 1024 * 1024  # what fits into the sockets' buffers, and not a stream
    injected("webhooks: body that drips or never ends", 2)


async def test_a_compressed_answer_is_not_unpacked() -> None:

    bomb = gzip.compress(b"\0" * 50_000_000)
    head = f"HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    result, receiver, took = await tried(head.encode() + bomb)
    assert result == Attempted(200)
    assert b"accept-encoding: identity" in receiver.heads[0].lower()
    assert took < 1.0
    injected("webhooks: compressed bomb")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "protocol"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 300_000, "protocol"),
        (b"HTTP/1.1 abc\r\n\r\n", "protocol"),
        (b"HTTP/1.1 99 X\r\n\r\n", "protocol"),
        (b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", "status 500"),
        (b"HTTP/1.1 410 X\r\nContent-Length: 0\r\n\r\n", "status 410"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "protocol"),
    ],
)
async def test_what_is_no_good_answer_is_a_failed_try(answer: bytes, error: str) -> None:
    result, _, _ = await tried(answer)
    assert result.error.startswith(error), result
    assert result.gone is (b"410" in answer)
    injected("webhooks: nonsense instead of an answer")


async def test_who_asks_for_time_gets_it_said() -> None:
    head = b"HTTP/1.1 %d X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    assert (await tried(head % 429))[0] == Attempted(429, "status 429", 7.0)
    assert (await tried(head % 503))[0] == Attempted(503, "status 503", 7.0)
    assert (await tried(head % 500))[0] == Attempted(500, "status 500", 0.0)


async def test_nobody_there_and_nobody_who_speaks() -> None:
    async with receiving(b"") as receiver:
        port = receiver.port
    result = await sender(port).send(f"http://127.0.0.1:{port}/", b"{}", {})
    assert result == Attempted(None, "connect")

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    assert (await tried(silent))[0] == Attempted(None, "timeout")
    injected("webhooks: receiver away or silent", 2)


async def test_a_name_that_changes_its_mind_gains_nothing() -> None:
    """Rebinding: the first answer is harmless, later ones lead inside. What was checked is what is
    connected to, so each try asks once, and the second try is refused."""
    asked = 0

    async def rebinding(host: str, port: int) -> Sequence[Address]:
        nonlocal asked
        asked += 1
        return [ip_address("127.0.0.2" if asked == 1 else "10.0.0.1")]

    async with receiving(b"HTTP/1.1 204 X\r\n\r\n", host="127.0.0.2") as receiver:
        calls = sender(receiver.port, resolve=rebinding)
        to = f"http://rebinding.example:{receiver.port}/"
        assert await calls.send(to, b"{}", {}) == Attempted(204)
        assert asked == 1
        assert f"host: rebinding.example:{receiver.port}".encode() in receiver.heads[0].lower()
        assert await calls.send(to, b"{}", {}) == Attempted(None, "refused: address")
        assert len(receiver.heads) == 1
    injected("webhooks: rebinding name")


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async def two(host: str, port: int) -> Sequence[Address]:
        return [ip_address("127.0.0.9"), ip_address("127.0.0.2")]

    async with receiving(b"HTTP/1.1 204 X\r\n\r\n", host="127.0.0.2") as receiver:
        result = await sender(receiver.port, resolve=two).send(
            f"http://two.example:{receiver.port}/", b"{}", {}
        )
    assert result == Attempted(204)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n") as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{proxy.port}")
        result, receiver, _ = await tried(b"HTTP/1.1 204 X\r\n\r\n")
        assert result == Attempted(204)
        assert len(receiver.heads) == 1
        assert not proxy.heads


@pytest.fixture
def certified(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS under a certificate for 127.0.0.1."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    self_signed("127.0.0.1", certificate=certificate, key=key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


async def test_certificates_are_judged_by_the_name_not_by_the_address(
    certified: tuple[ssl.SSLContext, Path],
) -> None:
    context, certificate = certified
    named: list[str | None] = []
    context.sni_callback = lambda _, name, __: named.append(name)

    async def here(host: str, port: int) -> Sequence[Address]:
        return [ip_address("127.0.0.1")]

    async with receiving(b"HTTP/1.1 204 X\r\n\r\n", tls=context) as receiver:
        right, wrong = (
            f"https://127.0.0.1:{receiver.port}/",
            f"https://other.example:{receiver.port}/",
        )
        knowing = sender(receiver.port, resolve=here, authorities=certificate)
        assert await knowing.send(right, b"{}", {}) == Attempted(204)
        assert await knowing.send(wrong, b"{}", {}) == Attempted(None, "tls")
        assert named[-1] == "other.example"
        stranger = sender(receiver.port, resolve=here)
        assert await stranger.send(right, b"{}", {}) == Attempted(None, "tls")
        assert len(receiver.heads) == 1
    injected("webhooks: certificate for another name, or by nobody known", 2)


async def test_plain_text_where_tls_is_expected_is_a_failed_try() -> None:
    async with receiving(b"HTTP/1.1 200 X\r\n\r\n") as receiver:
        to = f"https://127.0.0.1:{receiver.port}/"
        result = await sender(receiver.port).send(to, b"{}", {})
    assert result.error in ("tls", "connect", "timeout")


def test_the_first_try_of_a_process_imports_nothing() -> None:
    """Imports in the middle of a day stop the loop, and with it calls."""
    program = """
import asyncio, sys
from ipaddress import IPv4Network
from dialer.webhooks.guard import Guard, Policy, Resolver
from dialer.webhooks.sender import Sender
from telephony.clock import SystemClock

async def main():
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    guard = Guard(Policy((port,), (IPv4Network("127.0.0.0/8"),), http=True), Resolver())
    sender, before = Sender(guard, clock=SystemClock()), set(sys.modules)
    await sender.send(f"http://127.0.0.1:{port}/", b"{}", {})
    print(sorted(set(sys.modules) - before))

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"
