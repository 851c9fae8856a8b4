"""
The version cookie: it says which of a session's tokens the browser got last.

Firefox keeps a cookie without Max-Age in its session store only, and writes that when tabs change, not when a cookie
does. If Firefox is killed, it comes back with a session cookie of any age, which looks like a stolen copy. Cookies with
Max-Age are on its disk within a second. So a session whose cookie ends with the browser has a second, lasting cookie,
sent with each token after the login's. It names the token and holds no secret, so it is worth nothing alone, and may
stay on the disk when the browser closes.
"""

import hmac
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from aiosess._token import base64url
from aiosess._token.token import LARGEST_VERSION, Token

# version.id.parent.mac; a token that rotate() has made has no parent.
_SHAPE: Final = re.compile(
    r"(?P<signed>(?P<version>[1-9][0-9]{0,9})\.(?P<id>[A-Za-z0-9_-]{11})\.(?P<parent>[A-Za-z0-9_-]{11})?)"
    r"\.(?P<mac>[A-Za-z0-9_-]{43})",
    re.ASCII,
)


class Place(NamedTuple):
    """Which of a session's tokens is meant."""

    version: int
    id: str
    parent_id: str | None


def encode_version(token: Token, key: bytes) -> str:
    """Return the value of the version cookie that goes out with a token."""
    signed = f"{token.version}.{token.id}.{token.parent_id or ''}"
    return f"{signed}.{_mac(key, token, signed)}"


def newest_token(token: Token, text: str, keys: Iterable[bytes]) -> Token:
    """
    Return the token that the browser got last: the one it presents, or the one that its version cookie names.

    A text changes nothing if it is malformed, if none of the keys has signed it, or if it belongs to another session
    or to a secret that the session no longer has.
    """
    parts = _SHAPE.fullmatch(text)
    if parts is None or parts["id"] == token.id:
        return token  # all requests but those between a crash and the next rotation
    newest = at_place(token, Place(int(parts["version"]), parts["id"], parts["parent"]))
    if newest is token or newest.version > LARGEST_VERSION:
        return token
    matches = [hmac.compare_digest(parts["mac"], _mac(key, token, parts["signed"])) for key in keys]
    return newest if any(matches) else token


def at_place(token: Token, place: Place) -> Token:
    """
    Return the session's token at this place, unless it is older than the given one.

    The secret is the session's, so the presented one serves. Of two tokens with one version the place wins: it was
    written to the disk when it arrived, and the other one when a tab last changed.
    """
    if place.version < token.version:
        return token
    return replace(token, version=place.version, id=place.id, parent_id=place.parent_id)


def _mac(key: bytes, token: Token, signed: str) -> str:
    digest = hmac.digest(key, token.session_id.bytes + token.secret_hash + signed.encode("ascii"), "sha256")
    return base64url.encode(digest)
