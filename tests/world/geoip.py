"""Writes a small GeoIP file: there is none that may be shipped (https://maxmind.github.io/MaxMind-DB/)."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

_NODE = 6  # bytes: two records of 24 bits
_KINDS = {"node_count": 6, "build_epoch": 9}  # numbers of other than 16 bits
_MARK = b"\xab\xcd\xefMaxMind.com"


def write_geoip(path: Path, places: dict[str, dict[str, Any]], kind: str = "GeoLite2-City") -> Path:
    """Write a file that knows a record for each IPv4 network."""
    nodes: list[list[int | bytes | None]] = [[None, None]]
    for network, record in places.items():
        net = ip_network(network)
        bits = [int(net.network_address) >> (31 - place) & 1 for place in range(net.prefixlen)]
        node = 0
        for bit in bits[:-1]:
            if nodes[node][bit] is None:
                nodes.append([None, None])
                nodes[node][bit] = len(nodes) - 1
            step = nodes[node][bit]
            assert isinstance(step, int)
            node = step
        nodes[node][bits[-1]] = _encode(record)
    data, tree = b"", b""
    for node_pair in nodes:
        for entry in node_pair:
            if isinstance(entry, bytes):
                number = len(nodes) + 16 + len(data)
                data += entry
            else:
                number = len(nodes) if entry is None else entry
            tree += number.to_bytes(3, "big")
    metadata = {
        "node_count": len(nodes),
        "record_size": _NODE * 4,
        "ip_version": 4,
        "database_type": kind,
        "languages": ["en", "de"],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "description": {"en": "for tests"},
    }
    path.write_bytes(tree + bytes(16) + data + _MARK + _encode(metadata))
    return path


def _encode(value: Any, kind: int = 5) -> bytes:
    """Encode a value of the data section."""
    if isinstance(value, dict):
        pairs = (_encode(name) + _encode(item, _KINDS.get(name, 5)) for name, item in value.items())
        return _control(7, len(value)) + b"".join(pairs)
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(_encode, value))
    if isinstance(value, int):
        body = value.to_bytes(4, "big").lstrip(b"\0")
        return _control(kind, len(body)) + body
    body = str(value).encode()
    return _control(2, len(body)) + body


def _control(kind: int, size: int) -> bytes:
    first, extended = (kind << 5, b"") if kind <= 7 else (0, bytes([kind - 7]))
    if size < 29:
        return bytes([first | size]) + extended
    return bytes([first | 29]) + extended + bytes([size - 29])  # up to 284 bytes
