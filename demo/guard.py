"""What stands between the pages and other sites: cross-site requests, headers, and where a redirect may go."""

import re

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# No inline style or script, nothing from elsewhere, in nobody's frame.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    # Not "no-referrer", with which browsers send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

# What our own addresses are made of. Without a second slash, a backslash or a dot at its start, no browser and no URL
# library can read it as another host.
_OWN_PATH = re.compile(r"/(?:[A-Za-z0-9][A-Za-z0-9/_-]{0,200})?")


@web.middleware
async def same_origin_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a request that would change something and was not made by a page of ours; the login form's too."""
    if request.method not in SAFE_METHODS and not _is_own(request):
        raise web.HTTPForbidden
    return await handler(request)


async def add_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put the security headers on every response, those of errors and files included."""
    response.headers.update(HEADERS)


def own_path(path: str) -> str:
    """Return a path to redirect to, if it is one of this site, else the home page's."""
    return path if _OWN_PATH.fullmatch(path) else "/"


def _is_own(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    return request.headers.get(hdrs.ORIGIN) == f"{request.scheme}://{request.host}"
