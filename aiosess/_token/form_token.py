"""
Protection against cross-site request forgery: a request's origin, and the form's token.

The two are independent. The browser itself says which site a request comes from (Fetch Metadata, or the Origin of
RFC 6454), and the form holds a MAC of the session's id that no other site can read. The MAC is bound to the session and
not to one of its tokens, so that a form stays good when the token rotates (NIST SP 800-63B-4, 5.1).
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

from aiosess._client.origin import is_our_origin

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, 9.2.1

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
    """Return a session's form token: the HMAC-SHA256 of its id, in base64url."""
    return urlsafe_b64encode(hmac.digest(key, session_id.bytes, "sha256")).rstrip(b"=").decode("ascii")


def is_form_token(text: str, keys: Iterable[bytes], session_id: UUID) -> bool:
    """Say whether a text is a session's form token under one of the keys; compares in constant time."""
    given = text.encode("utf-8", "replace")  # compare_digest() refuses a str that is not ASCII
    matches = [hmac.compare_digest(given, form_token(key, session_id).encode("ascii")) for key in keys]
    return any(matches)
