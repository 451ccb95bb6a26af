"""One try: the guard is asked, a connection is made to an address it checked, the event is posted.

What the receiver answers is not kept and not shown, only its status: whoever may give us a URL must
not be able to read through us what is behind it. Redirects are not followed, proxies of the
environment are not used, and nothing a receiver does takes longer than a try's time.
"""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import certifi
import httpx

from dialer.domain.webhook import Attempted
from dialer.webhooks.addresses import Address
from dialer.webhooks.guard import Guard, Refused, Target
from telephony.clock import Clock

# Parts that httpx imports at its first request: the loop, and with it everybody who waits to be
# joined to an agent, would stand still for a tenth of a second in the middle of a day.
for _late in ("httpcore", "h11", "anyio._backends._asyncio"):
    importlib.import_module(_late)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, and bytes of an answer that are read (and thrown away) before we hang up."""

    connect: float = 5.0
    whole: float = 15.0
    rest: float = 2.0  # for an answer's body once its status is known
    answer_bytes: int = 16 * 1024


class Sender:
    """Posts events. `authorities`: a PEM file of certificate authorities besides the public."""

    def __init__(
        self,
        guard: Guard,
        *,
        clock: Clock,
        limits: Limits | None = None,
        authorities: Path | None = None,
    ) -> None:
        self._guard, self._clock, self._limits = guard, clock, limits or Limits()
        self._trust = ssl.create_default_context(cafile=certifi.where())
        if authorities is not None:
            self._trust.load_verify_locations(cafile=authorities)

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Attempted:
        """How it went; never raises but for being cancelled."""
        try:
            async with asyncio.timeout(self._limits.whole):
                target, addresses = await self._guard.check(url)
                return await self._first_that_answers(target, addresses, body, headers)
        except Refused as refused:
            return Attempted(None, f"refused: {refused.reason}")
        except (TimeoutError, httpx.TimeoutException):
            return Attempted(None, "timeout")
        except (httpx.ConnectError, OSError) as error:
            return Attempted(None, "tls" if _is_tls(error) else "connect")
        except Exception as error:  # a receiver that speaks no HTTP, cuts the line, ...
            return Attempted(None, f"protocol: {type(error).__name__}"[:40])

    async def _first_that_answers(
        self,
        target: Target,
        addresses: Sequence[Address],
        body: bytes,
        headers: Mapping[str, str],
    ) -> Attempted:
        for address in addresses[:-1]:
            try:
                return await self._post(target, address, body, headers)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if _is_tls(error):
                    raise
        return await self._post(target, addresses[-1], body, headers)

    async def _post(
        self, target: Target, address: Address, body: bytes, headers: Mapping[str, str]
    ) -> Attempted:
        at = httpx.URL(
            scheme=target.scheme,
            host=f"[{address}]" if address.version == 6 else str(address),
            port=target.port,
            raw_path=target.path.encode("ascii"),
        )
        request = httpx.Request(
            "POST",
            at,
            content=body,
            headers={
                "Host": target.authority,
                "User-Agent": "dialer-webhooks/1",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                "Connection": "close",
                **headers,
            },
            # The certificate is judged by the name, though the address is what is connected to.
            extensions={
                "sni_hostname": target.host,
                "timeout": httpx.Timeout(
                    self._limits.whole, connect=self._limits.connect
                ).as_dict(),
            },
        )
        # A transport of its own: no proxies, no redirects, no cookies, no connection kept.
        async with httpx.AsyncHTTPTransport(verify=self._trust, trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            try:
                await self._hear_out(response)
            finally:
                await response.aclose()
        return self._judged(response)

    async def _hear_out(self, response: httpx.Response) -> None:
        """A polite receiver's answer is read to its end; nobody else's."""
        heard = 0
        try:
            async with asyncio.timeout(self._limits.rest):
                async for part in response.aiter_raw():
                    heard += len(part)
                    if heard > self._limits.answer_bytes:
                        return
        except (TimeoutError, httpx.HTTPError):
            pass  # the status is known, and all that counts

    def _judged(self, response: httpx.Response) -> Attempted:
        status = response.status_code
        if 200 <= status < 300:
            return Attempted(status)
        asked = 0.0
        if status in (429, 503):
            asked = seconds_asked(response.headers.get("retry-after", ""), self._clock.now())
        return Attempted(status, f"status {status}", asked)


def seconds_asked(text: str, now: datetime) -> float:
    """`Retry-After`, in seconds or as a date; 0.0 for what is neither."""
    text = text.strip()[:60]
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
        return max((at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
