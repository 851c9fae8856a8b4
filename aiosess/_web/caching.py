"""What caches may do with a response: nothing, once it carries a session cookie."""

from typing import Final

from aiohttp import web
from aiohttp.hdrs import CACHE_CONTROL, COOKIE, VARY

# The other kinds of response are streams: their handler goes on writing when the headers are out.
WHOLE: Final = (web.Response, web.FileResponse, web.WebSocketResponse)

_ANY: Final = frozenset({"*", "cookie"})
# Headers of single caches, which obey them instead of Cache-Control (RFC 9213; W3C Edge Architecture; nginx). Many
# networks have one that ends with "-CDN-Cache-Control".
_OF_SINGLE_CACHES: Final = ("cdn-cache-control", "surrogate-control", "x-accel-expires", "edge-control")
# Directives by which an application invites caches (RFC 9111, 5.2.2; RFC 8246).
_INVITATIONS: Final = ("public", "immutable", "s-maxage")


def invites_caches(response: web.StreamResponse) -> bool:
    """Say whether the application wants a cache to keep the response, for several users or for good."""
    cache_control = ", ".join(response.headers.getall(CACHE_CONTROL, ())).lower()
    return any(each in cache_control for each in _INVITATIONS) or bool(_headers_of_single_caches(response))


def forbid_caching(response: web.StreamResponse) -> None:
    """Let no cache keep the response (RFC 9111, 5.2.2.5), whatever the application said."""
    response.headers[CACHE_CONTROL] = "no-store"
    for name in _headers_of_single_caches(response):
        response.headers.popall(name, None)


def vary_by_cookie(response: web.StreamResponse) -> None:
    """Tell caches that the response depends on the cookie (RFC 9110, 12.5.5)."""
    headers = response.headers
    if VARY not in headers:
        headers[VARY] = COOKIE
        return
    known = ", ".join(headers.getall(VARY))
    if not _ANY & {field.strip(" \t").lower() for field in known.split(",")}:
        headers[VARY] = f"{known}, {COOKIE}" if known else COOKIE


def _headers_of_single_caches(response: web.StreamResponse) -> list[str]:
    return [name for name in response.headers if name.lower().endswith(_OF_SINGLE_CACHES)]
