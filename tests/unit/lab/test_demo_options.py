"""The demo's options: sensible without any, and a clear word about one that cannot be."""

from __future__ import annotations

import socket

import pytest

from tests.lab.demo.campaign import people, settings
from tests.lab.demo.options import BadOption, Options

pytestmark = pytest.mark.unit


def test_without_any_and_with_all() -> None:
    assert Options.read({}) == Options()
    given = {
        "LEADS": "7", "AGENTS": "2", "SEATS": "0", "HOST": "127.0.0.9", "PORT": "8099",
        "SIP_PORT": "5099", "RETRY": "0", "EXIT": "1",
        "NODES": "2",
    }  # fmt: skip
    read = Options.read({f"DIALER_DEMO_{name}": value for name, value in given.items()})
    assert read == Options(7, 2, 0, "127.0.0.9", 8099, 5099, 0, nodes=2, exit=True)
    assert (read.api_port(), read.phones_port()) == (8099, 5099)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEADS", "0"), ("LEADS", "many"), ("NODES", "0"), ("NODES", "5"),
        ("AGENTS", "-1"), ("SEATS", "1e3"), ("PORT", "65536"),
        ("LEADS", "\u0663"), ("HOST", "localhost"), ("HOST", "0.0.0.0"), ("HOST", "203.0.113.7"),
        ("HOST", "::1"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadOption, match=f"DIALER_DEMO_{name}: expected"):
        Options.read({f"DIALER_DEMO_{name}": value})


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        for taken, port in ((tcp, 8080), (udp, 5060)):
            taken.bind(("127.0.0.77", port))
        tcp.listen()
        options = Options(host="127.0.0.77")
        assert options.api_port() not in (0, 8080)
        assert options.phones_port() not in (0, 5060)


def test_the_people_are_the_same_every_time_and_all_different() -> None:
    first = people(600)
    assert first == people(600)
    assert len({lead["number"] for lead in first}) == 600
    assert {lead["number"][3] for lead in first} == set("0123456789")  # every behaviour


def test_one_pause_for_all_retries() -> None:
    assert {rule["delay"] for rule in settings(retry=1)["retries"].values()} == {1}
    assert len({rule["delay"] for rule in settings(retry=None)["retries"].values()}) > 3
