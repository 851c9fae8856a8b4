"""Web origins as browsers write them (RFC 6454): which one is ours, and which ones the application names."""

import re
from collections.abc import Collection, Iterable
from typing import Final

_DEFAULT_PORTS: Final = {"https": ":443", "http": ":80"}
# RFC 6454, 6.2, with the host as a browser sends it: lower case, international names in their ASCII form.
_ORIGIN: Final = re.compile(
    r"(?P<scheme>https?)://(?:[a-z0-9_](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?"
)
# These names never leave the machine (RFC 6761, 6.3), so browsers keep Secure cookies for their pages over plain http.
_LOCAL: Final = re.compile(r"(?:[a-z0-9-]+\.)*localhost(?::[0-9]+)?")


def is_our_origin(origin: str | None, host: str | None, scheme: str, allowed: Collection[str]) -> bool:
    """
    Say whether a page of this origin may act with the session.

    Args:
        origin: The header ``Origin``.
        host: The header ``Host``: the server that the client means to talk to.
        scheme: "https" or "http": how the client reaches us. A page on http://localhost is ours either way.
        allowed: The further origins that ``parse_origins()`` returned.

    """
    if not origin:
        return False
    given = _without_default_port(origin.lower())
    if given in allowed:
        return True
    if not host:
        return False
    host = host.lower()
    schemes = {scheme, "http"} if _LOCAL.fullmatch(host) else {scheme}
    return any(given == _without_default_port(f"{each}://{host}") for each in schemes)


def parse_origins(values: Iterable[object]) -> frozenset[str]:
    """
    Read the origins that an application names.

    Raises:
        ValueError: one of them is no origin that a page can have; the message repeats it.

    """
    return frozenset(map(_parse, values))


def _parse(value: object) -> str:
    text = value.lower() if isinstance(value, str) else ""
    if not _ORIGIN.fullmatch(text):
        message = f'{value!r} is not an origin like "https://app.example.org": a scheme, a host, perhaps a port'
        raise ValueError(message)
    return _without_default_port(text)


def _without_default_port(origin: str) -> str:
    """Spell an origin as browsers do, without the port that its scheme has anyway."""
    scheme = origin.partition("://")[0]
    return origin.removesuffix(_DEFAULT_PORTS.get(scheme, "\0"))
