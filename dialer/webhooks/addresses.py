"""Which addresses may be called on behalf of somebody who only gave us a URL.

Allowed is what is globally routable by a list of what is not: Python's `is_global` differs from
release to release, and ways to write one address inside another are where guards have failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: IANA's registry of special-purpose addresses, and what clouds answer their machines' secrets on.
_NOT_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' own; one cloud's metadata at 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's agent, reached from its machines only
        "169.254.0.0/16",  # link-local; most clouds' metadata at 169.254.169.254
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata at 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_UNICAST_V6 = IPv6Network("2000::/3")  # all that is global; loopback, mapped, local lie outside
_NOT_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo (an IPv4 address inside), ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # an IPv4 address inside: how IPv6-only machines reach it


def inner(address: Address) -> Address:
    """What is really called: an IPv4 address written as an IPv6 one, taken out of it."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def globally_routable(address: Address) -> bool:
    address = inner(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_V4)
    if address.scope_id is not None:
        return False
    return address in _UNICAST_V6 and not any(address in network for network in _NOT_V6)


def allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Globally routable, or in a network that the operator has given."""
    return within(address, networks) or globally_routable(address)


def within(address: Address, networks: Sequence[Network]) -> bool:
    really = inner(address)
    return any(really.version == n.version and really in n for n in networks)


def parsed(text: str) -> Address:
    """Raises ValueError."""
    return ip_address(text)
