"""
Cross-site request forgery: where a request comes from, and the token that a form carries.

Two locks, as for the session's token. The browser itself says which site a request comes from (Fetch Metadata, or the
Origin of RFC 6454), and the form holds a MAC of the session's id that no other site can read. The MAC is bound to the
session and not to one of its tokens, so that a page stays good when the token rotates (NIST SP 800-63B-4, 5.1).
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from typing import Final
from uuid import UUID

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, 9.2.1

_OUR_SITES = frozenset({"same-origin", "none"})  # none: the user alone, by the address bar or a bookmark
_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


def is_same_origin(fetch_site: str | None, origin: str | None, host: str | None, scheme: str) -> bool:
    """
    Say whether a page of ours, or nobody's page, has sent a request.

    Args:
        fetch_site: The header ``Sec-Fetch-Site``; where it is present, it alone decides, for no page can write it.
        origin: The header ``Origin``, which older browsers send with everything that is not safe.
        host: The header ``Host``: whom the client believes to talk to.
        scheme: "https" or "http": how that client reaches us.

    """
    if fetch_site is not None:
        return fetch_site in _OUR_SITES
    if not origin or not host:
        return False
    port = _DEFAULT_PORTS[scheme]
    return origin.lower().removesuffix(port) == f"{scheme}://{host.lower().removesuffix(port)}"


def form_token(key: bytes, session_id: UUID) -> str:
    """Return the HMAC-SHA256 of a session's id in base64url: what a form carries."""
    return urlsafe_b64encode(hmac.digest(key, session_id.bytes, "sha256")).rstrip(b"=").decode("ascii")


def is_form_token(text: str, keys: Iterable[bytes], session_id: UUID) -> bool:
    """Say whether a text is a session's form token under one of the keys; the time it takes tells nothing of it."""
    given = text.encode("utf-8", "replace")  # of text that is not ASCII compare_digest() takes bytes only
    matches = [hmac.compare_digest(given, form_token(key, session_id).encode("ascii")) for key in keys]
    return any(matches)
