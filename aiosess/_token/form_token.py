"""
Protection against cross-site request forgery: a request's origin, and the form's token.

The two are independent. The browser itself says which site a request comes from (Fetch Metadata, or the Origin of
RFC 6454), and the form holds a MAC of the session's id that no other site can read. The MAC is bound to the session and
not to one of its tokens, so that a form stays good when the token rotates (NIST SP 800-63B-4, 5.1).
"""

import hmac
import os
from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

from aiosess._client.origin import is_our_origin
from aiosess._token.base64url import decode, encode

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, 9.2.1

_SIZE: Final = 32  # bytes of the MAC, and of the mask
_LONGEST: Final = 86  # characters: both in base64url

_OUR_SITES = frozenset({"same-origin", "none"})  # none: the user directly (address bar, bookmark)


def is_same_origin(
    fetch_site: str | None, origin: str | None, host: str | None, scheme: str, allowed: Collection[str] = ()
) -> bool:
    """
    Say whether a request comes from our own origin, or from the user directly (address bar, bookmark).

    Args:
        fetch_site: The header ``Sec-Fetch-Site``. If it is present it alone decides, because no page can write it;
            but an origin in ``allowed`` is good whatever it says.
        origin: The header ``Origin``. Older browsers send it with every request whose method is not safe.
        host: The header ``Host``: the server that the client means to talk to.
        scheme: "https" or "http": how the client reaches us.
        allowed: Further origins whose pages may send the application's forms.

    """
    if fetch_site in _OUR_SITES:
        return True
    # With this header the host says nothing any more.
    return is_our_origin(origin, host if fetch_site is None else None, scheme, allowed)


def form_token(key: bytes, session_id: UUID) -> str:
    """Return a session's form token: the HMAC-SHA256 of its id, in base64url (43 characters)."""
    return encode(_mac(key, session_id))


def masked_form_token(key: bytes, session_id: UUID) -> str:
    """
    Return a session's form token as a text that is another one each time: random bytes, then the MAC xor those bytes.

    A page that is compressed and repeats something of the request gives away, byte by byte, whatever secret is the same
    in each response (BREACH, Gluck, Harris and Prado 2013). The mask leaves nothing that is the same (86 characters).
    """
    mask = os.urandom(_SIZE)
    return encode(mask + _xor(mask, _mac(key, session_id)))


def is_form_token(text: str, keys: Iterable[bytes], session_id: UUID) -> bool:
    """Say whether a text is a session's form token under one of the keys, masked or not; compares in constant time."""
    given = _mac_in(text)
    matches = [hmac.compare_digest(given, _mac(key, session_id)) for key in keys]
    return any(matches)


def _mac(key: bytes, session_id: UUID) -> bytes:
    return hmac.digest(key, session_id.bytes, "sha256")


def _mac_in(text: str) -> bytes:
    """Return the MAC that a text spells; nothing, if it spells none."""
    content = decode(text[: _LONGEST + 1])
    if content is None or len(content) not in {_SIZE, 2 * _SIZE}:
        return b""
    return content if len(content) == _SIZE else _xor(content[:_SIZE], content[_SIZE:])


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
