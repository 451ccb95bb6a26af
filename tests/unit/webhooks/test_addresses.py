"""No address of our own network is called, in whatever clothes it comes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.webhooks.addresses import Address, allowed, globally_routable

pytestmark = pytest.mark.unit

#: As IANA lists them, written down apart from the code that is tested.
SPECIAL = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
]  # fmt: skip
SPECIAL_6 = [
    "::/128", "::1/128", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:2::/48",
    "2001:10::/28", "2001:20::/28", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
    "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip


def inside(network: IPv4Network | IPv6Network) -> st.SearchStrategy[Address]:
    first, last = int(network.network_address), int(network.broadcast_address)
    kind = IPv4Address if network.version == 4 else IPv6Address
    edges = st.sampled_from([first, last])
    return st.one_of(edges, st.integers(first, last)).map(kind)


inner_v4 = st.sampled_from(SPECIAL).flatmap(lambda text: inside(IPv4Network(text)))
inner_v6 = st.sampled_from(SPECIAL_6).flatmap(lambda text: inside(IPv6Network(text)))


@given(inner_v4)
def test_special_addresses_are_refused_in_every_form(address: IPv4Address) -> None:
    number = int(address)
    dressed = [
        address,
        IPv6Address((0xFFFF << 32) | number),  # ::ffff:a.b.c.d
        IPv6Address(number),  # ::a.b.c.d
        IPv6Address((0x0064FF9B << 96) | number),  # NAT64
        IPv6Address((0x2002 << 112) | (number << 80) | 1),  # 6to4
        IPv6Address((0x20010000 << 96) | (number << 64)),  # Teredo: the server
        IPv6Address((0x20010000 << 96) | (number ^ 0xFFFFFFFF)),  # Teredo: the client
    ]
    for form in dressed:
        assert not globally_routable(form), form


@given(inner_v6)
def test_special_addresses_of_version_six_are_refused(address: IPv6Address) -> None:
    assert not globally_routable(address)


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_nothing_outside_global_unicast_is_called(address: IPv6Address) -> None:
    """Python knows too what is private; whatever it says, we are not laxer."""
    if globally_routable(address):
        plain = address.ipv4_mapped or address
        assert plain.is_global
        assert not plain.is_multicast


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_what_python_calls_private_is_refused(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert not globally_routable(address)


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450::1",
     "::ffff:8.8.8.8", "64:ff9b::808:808"],
)  # fmt: skip
def test_public_addresses_are_called(text: str) -> None:
    assert globally_routable(ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16",
     "fd00:ec2::254", "::ffff:169.254.169.254", "fe80::a9fe:a9fe%eth0"],
)  # fmt: skip
def test_metadata_services_are_not_called(text: str) -> None:
    assert not globally_routable(ip_address(text))


def test_given_networks_are_allowed_and_nothing_beside_them() -> None:
    networks = [IPv4Network("127.0.0.0/8"), IPv6Network("fd12::/16")]
    for text in ("127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1", "fd12::1"):
        assert allowed(ip_address(text), networks), text
    for text in ("10.0.0.1", "::1", "fd13::1", "169.254.169.254"):
        assert not allowed(ip_address(text), networks), text
