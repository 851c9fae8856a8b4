"""
The client's address: the nearest hop that is no trusted proxy.

`parse_networks` reads the operator's configuration and refuses mistakes. The other functions read text that strangers
wrote, and no text makes them raise an error.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Literal, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
Proxy: TypeAlias = Network | Literal["unix"]
Address: TypeAlias = IPv4Address | IPv6Address

_MAX_HOPS = 20  # far more than real proxy chains have; the client wrote the rest of the header
_MAX_ENTRY = 64  # "[", an IPv6 address of 45 characters, "]:65535", and some white space

# 1.2.3.4, 1.2.3.4:5678, [2001:db8::1], [2001:db8::1]:443, 2001:db8::1; no zone id, because it has a meaning only on
# the host that wrote it. ip_address() then checks the address itself.
_ENTRY = re.compile(r"\[([0-9a-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?|([0-9a-f:.]+)", re.IGNORECASE)


def parse_networks(values: Iterable[str]) -> tuple[Proxy, ...]:
    """
    Read the trusted proxies of the configuration: CIDRs, single addresses, or "unix" for a peer on a Unix socket.

    Raises:
        ValueError: a value is none of these, has host bits set, or covers every address; the text names the value.
    """
    if isinstance(values, str):  # a string is an iterable of its letters, and the error would name only the first
        msg = f"trusted proxies are a list of networks, not one string: {values!r}"
        raise ValueError(msg)  # noqa: TRY004 - configuration errors are ValueErrors
    return tuple("unix" if value == "unix" else _network(value) for value in values)


def _network(value: str) -> Network:
    msg = f"not a network, an address or 'unix': {value!r}"
    if not isinstance(value, str) or "%" in value:  # ip_network(5) would be 0.0.0.5/32
        raise ValueError(msg)
    try:
        network = ip_network(value)
    except ValueError as error:
        msg = f"{msg} ({error})"
        raise ValueError(msg) from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None:  # client_ip() compares IPv4 addresses as such; a mapped prefix has 96 bits in front
        network = IPv4Network((mapped, network.prefixlen - 96))
    if network.prefixlen == 0:
        msg = f"{value!r} trusts everybody: each client could choose its address"
        raise ValueError(msg)
    return network


def client_ip(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Proxy]) -> str | None:
    """
    Return the client's IP address: the nearest hop that is no trusted proxy.

    `peer` is aiohttp's `request.remote`, where "" is a peer on a Unix socket; `forwarded_for` holds the values of all
    X-Forwarded-For lines in their order. The function reads them from the right, where our own proxies write, and goes
    on while the hop that vouches for the next one is trusted. An entry that is no address stops it at the last known
    hop. The address is normalised text (an IPv4-mapped one as IPv4); None means that it is unknown.
    """
    # uvloop has None for a TCP peer that reset its connection after it sent the request. That is no Unix socket: if
    # None counted as "", anybody could pass for a trusted "unix" peer when one application listens on both.
    if peer is None:
        return None
    # A link-local peer's zone comes from our own kernel.
    hop = _address(peer.partition("%")[0])
    if hop is None and peer:
        return None
    for entry in islice(_from_the_right(forwarded_for), _MAX_HOPS):
        before = _address(entry) if _is_trusted(hop, trusted) else None
        if before is None:
            break
        hop = before
    return None if hop is None else str(hop)


def _from_the_right(lines: Sequence[str]) -> Iterator[str]:
    for line in reversed(lines):
        # The first piece may be a long unsplit rest. The caller never reads it, because it is number _MAX_HOPS + 1.
        yield from reversed(line.rsplit(",", _MAX_HOPS))


def _address(text: str) -> Address | None:
    match = _ENTRY.fullmatch(text.strip(" \t")) if len(text) <= _MAX_ENTRY else None
    if match is None:
        return None
    try:
        address = ip_address(match[match.lastindex or 0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _is_trusted(hop: Address | None, trusted: Sequence[Proxy]) -> bool:
    """Say whether a hop may vouch for the one before it; None is a peer on a Unix socket."""
    if hop is None:
        return "unix" in trusted
    return any(network != "unix" and hop in network for network in trusted)
