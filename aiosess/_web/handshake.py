"""Which page opens a WebSocket: a handshake is a GET with the user's cookie, and any page can send one."""

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from aiosess._client.origin import is_our_origin
from aiosess.config import SessionConfig

Headers = CIMultiDictProxy[str]


def is_handshake(headers: Headers) -> bool:
    """Say whether a request may be answered by a WebSocket: whenever aiohttp would, and in some cases more."""
    upgrade = one_text(headers, hdrs.UPGRADE)
    return upgrade is not None and "websocket" in upgrade.lower()


def is_foreign_handshake(headers: Headers, config: SessionConfig) -> bool:
    """
    Say whether a page of another origin opens a WebSocket.

    SameSite does not stop a page of a sibling subdomain, nor does CORS. So the
    ``Origin`` decides, which every browser sends with a handshake and no page
    can write (RFC 6455, 10.2). ``Sec-Fetch-Site`` does not: Chromium sends none
    here. A client that sends no ``Origin`` is no browser and acts for itself.
    """
    origin = one_text(headers, hdrs.ORIGIN)
    if origin is None or not is_handshake(headers):
        return False
    return not is_our_origin(origin, one_text(headers, hdrs.HOST), config.scheme, config.origins)


def one_text(headers: Headers, name: str) -> str | None:
    """Return a header as one text: of one that came twice the sum equals nothing that is allowed."""
    values = headers.getall(name, None)
    return None if values is None else ", ".join(values)
