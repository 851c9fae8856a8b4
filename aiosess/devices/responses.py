"""Responses: pages in the browser's language, JSON, problem details (RFC 9457), and the headers of all of them."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import hdrs, web
from markupsafe import Markup

from aiosess._client.negotiation import best_language, wants_json
from aiosess._web.redirects import relative_path
from aiosess.devices.listing import FindPlace
from aiosess.devices.rendering import Templates
from aiosess.devices.texts import Translation
from aiosess.errors import StoreUnavailable

# No content of other origins, no inline script or style, no frame around the page (ASVS 5.0, 3.4).
HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # "no-referrer" would make browsers send "Origin: null" with the page's own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# These request headers decide about the response.
_VARY: Final = "Accept, Accept-Language"
_RETRY: Final = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)


def no_place(_address: str | None, _language: str) -> None:
    """Find no place: the application named no GeoIP file."""


class Responses:
    """Makes the responses of one devices page."""

    def __init__(self, sign_in: str, translations: Mapping[str, Translation], find_place: FindPlace | None) -> None:
        """Take the path of the sign-in page, the languages, and the GeoIP look-up."""
        self._sign_in = sign_in
        self._translations = translations
        self._templates = Templates()
        self.find_place: FindPlace = find_place or no_place
        self.root: web.AbstractResource  # the page itself; setup_devices() sets it
        self.mount: str  # the page's path in the application that it was added to
        self.versions: dict[str, str] = {}  # the version of each asset, by name

    def translation(self, request: web.Request) -> Translation:
        """Return the texts in the language that the browser prefers."""
        return self._translations[best_language(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""), self._translations)]

    def render(self, request: web.Request, name: str, **context: object) -> Markup:
        """Render a template."""
        root, translation = self.link(request, self.path()), self.translation(request)
        assets = {asset: f"{root}/{asset}?v={version}" for asset, version in self.versions.items()}
        base = {
            "request": request,
            "t": translation,
            "root": root,
            "assets": assets,
            "sign_in": self.link(request, self._sign_in),
        }
        return self._templates.render(request, name, base | context)

    def path(self, below: str = "") -> str:
        """Return the path of the page, or of a route below it, with the prefix of a sub-application."""
        return str(self.root.url_for()) + below

    def link(self, request: web.Request, path: str) -> str:
        """Return a link from a request's address to a path; without a slash, it begins at the page's application."""
        if not path.startswith("/"):
            path = f"{self.path().removesuffix(self.mount)}/{path}"
        return relative_path(request, path)

    def page(
        self, request: web.Request, name: str, status: int = HTTPStatus.OK, *, signed_in: bool, **context: object
    ) -> web.Response:
        """Return an HTML page."""
        text = self.render(request, name, signed_in=signed_in, **context)
        headers = HEADERS | {hdrs.VARY: _VARY, hdrs.CONTENT_LANGUAGE: self.translation(request).language}
        return web.Response(text=text, status=status, content_type="text/html", headers=headers)

    def json(self, content: Mapping[str, Any], status: int = HTTPStatus.OK, kind: str = "json") -> web.Response:
        """Return JSON."""
        text = json.dumps(content, ensure_ascii=False)
        headers = HEADERS | {hdrs.VARY: _VARY}
        return web.Response(text=text, status=status, content_type=f"application/{kind}", headers=headers)

    def problem(self, request: web.Request, status: HTTPStatus, kind: str = "", **details: object) -> web.Response:
        """
        Return an error as JSON or as a page; it never repeats the request.

        Raises:
            HTTPUnauthorized: the status is 401 and the client reads HTML; the application may redirect to its sign-in.

        """
        translation, text = self.translation(request), f"problem.{kind or status.value}"
        headers = {hdrs.RETRY_AFTER: str(StoreUnavailable.retry_after)} if status in _RETRY else {}
        if wants_json(request.headers.get(hdrs.ACCEPT, "")):
            content: dict[str, object] = {"type": f"urn:aiosess:problem:{kind}"} if kind else {}
            content |= {
                "title": translation.plain(text),
                "status": status.value,
                "detail": translation.plain(f"{text}.about"),
            }
            response = self.json(content | details, status, "problem+json")
        else:
            # Every other problem occurs after the session was checked.
            signed_in = status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE}
            response = self.page(request, "problem", status, signed_in=signed_in, problem=text, code=status.value)
        response.headers.update(headers)
        if status is HTTPStatus.UNAUTHORIZED and response.content_type == "text/html":
            raise web.HTTPUnauthorized(text=response.text, content_type="text/html", headers=_without_type(response))
        return response


def redirect(to: str) -> web.HTTPSeeOther:
    """Return a redirect to a link; it may be relative (RFC 9110, 10.2.2)."""
    return web.HTTPSeeOther(to, headers=HEADERS)


def _without_type(response: web.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name != hdrs.CONTENT_TYPE}
