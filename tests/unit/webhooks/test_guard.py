"""URLs are taken apart once, what is not plain is refused; names are judged by where they lead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from ipaddress import IPv4Network, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dialer.webhooks.addresses import Address
from dialer.webhooks.guard import Guard, Policy, Refused, Resolver, take_apart

pytestmark = pytest.mark.unit
LOOPBACK = (IPv4Network("127.0.0.0/8"),)


class Names:
    """A resolver that answers from a list, and remembers what it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers, self.asked = list(answers), list[str]()

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not answer:
            raise OSError("no such name")
        return [ip_address(text) for text in answer]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/", "scheme"),
        ("ftp://example.com/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://example.com/_x", "scheme"),
        ("//example.com/", "scheme"),
        ("https:example.com", "host"),
        ("https:///x", "host"),
        ("https://user@example.com/", "userinfo"),
        ("https://user:word@example.com/", "userinfo"),
        ("https://example.com@169.254.169.254/", "userinfo"),
        ("https://@example.com/", "userinfo"),
        ("https://example.com:22/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:99999/", "port"),
        ("https://example.com/#part", "url"),
        ("https://example.com\\@localhost/", "url"),
        ("https://exa mple.com/", "url"),
        ("https://example.com/\r\nHost: localhost", "url"),
        ("https://example.com/\x00", "url"),
        ("https://example.com%2f@localhost/", "userinfo"),
        ("https://127.0.0.1%00.example.com/", "host"),
        ("https://a%2eb/", "host"),
        ("https://a..b/", "host"),
        ("https://[fe80::1%25eth0]/", "host"),
        ("https://" + "a" * 64 + ".example/", "host"),
        ("https://example.com/" + "a" * 1000, "url"),
        ("https://①②⑦.⓪.⓪.①/", "url"),
        ("https://0177.0.0.1/", "url"),
        ("", "scheme"),
    ],
)
async def test_what_is_no_plain_address_is_refused(url: str, reason: str) -> None:
    names = Names(["8.8.8.8"])
    with pytest.raises(Refused) as refused:
        await Guard(Policy(), names).check(url)
    assert refused.value.reason == reason
    assert not names.asked  # not even looked up


async def test_a_plain_address_is_read_in_one_way_of_writing() -> None:
    target, addresses = await Guard(Policy(), Names(["8.8.8.8"])).check(
        "HTTPS://Bücher.EXAMPLE:443/hooks?a=1"
    )
    assert target.url == "https://xn--bcher-kva.example/hooks?a=1"
    assert addresses == [ip_address("8.8.8.8")]


@given(st.text(max_size=60))
@example("https://[::1]:443//")
@example("https://a.b/%zz")
def test_any_text_is_taken_apart_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.example/{text}"):
        try:
            target = take_apart(url)
        except Refused:
            continue
        assert take_apart(target.url) == target  # what is stored is what was checked
        assert target.path.isascii()
        assert not set(target.host) & set("/\\@?#% \r\n")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0", "localhost", "[::1]",
     "[::ffff:127.0.0.1]", "[::]", "10.0.0.1", "169.254.169.254", "[64:ff9b::7f00:1]"],
)  # fmt: skip
async def test_ways_to_write_the_loopback_lead_nowhere(host: str) -> None:
    """With the real resolver, which reads them as every client does."""
    resolver = Resolver()
    try:
        with pytest.raises(Refused) as refused:
            await Guard(Policy(), resolver).check(f"https://{host}/")
    finally:
        resolver.close()
    assert refused.value.reason == "address"


@pytest.mark.parametrize(
    "answer", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["fd00::1"], [], ["8.8.8.8"] * 17]
)
async def test_one_bad_address_refuses_the_name_and_all_refusals_look_alike(
    answer: list[str],
) -> None:
    """Whether a name is not there or leads inside is not told: that would map our network."""
    with pytest.raises(Refused) as refused:
        await Guard(Policy(), Names(answer)).check("https://a.example/")
    assert (refused.value.reason, refused.value.detail) == (
        "address",
        "the host has no address that may be called",
    )


async def test_plain_http_is_for_given_networks_only() -> None:
    laboratory = Policy(ports=(80,), networks=LOOPBACK, http=True)
    target, _ = await Guard(laboratory, Names(["127.0.0.1"])).check("http://a.example/")
    assert target.url == "http://a.example/"
    tls_only = Policy(ports=(80,), networks=LOOPBACK)
    for policy, answer in ((laboratory, "8.8.8.8"), (tls_only, "127.0.0.1")):
        with pytest.raises(Refused) as refused:
            await Guard(policy, Names([answer])).check("http://a.example/")
        assert refused.value.reason == "scheme"


async def test_a_name_server_that_does_not_answer_is_not_waited_for() -> None:
    async def silent(host: str, port: int) -> Sequence[Address]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(Refused):
        await Guard(Policy(resolve_seconds=0.01), silent).check("https://a.example/")


async def test_a_dead_name_takes_one_thread_and_holds_up_no_other() -> None:
    dead, asked = threading.Event(), list[str]()

    def look_up(host: str, port: int) -> list[str]:
        asked.append(host)
        if host == "dead.example":
            dead.wait(30)
            raise OSError("no such name")
        return ["8.8.8.8"]

    resolver = Resolver(threads=2, look_up=look_up)
    guard = Guard(Policy(resolve_seconds=0.05), resolver)
    try:
        for _ in range(4):
            with pytest.raises(Refused):
                await guard.check("https://dead.example/")
        slow = Guard(Policy(resolve_seconds=30), resolver)
        _, addresses = await slow.check("https://a.example/")
        assert addresses == [ip_address("8.8.8.8")]
        assert asked.count("dead.example") == 1
        waiting = asyncio.create_task(slow.check("https://dead.example/"))
        await asyncio.sleep(0)
        dead.set()
        with pytest.raises(Refused):
            await waiting
    finally:
        dead.set()
        resolver.close()
