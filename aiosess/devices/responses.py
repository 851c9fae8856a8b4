"""Responses: pages in the visitor's language, JSON, problems (RFC 9457), and the headers that all of them have."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import hdrs, web
from markupsafe import Markup

from aiosess.devices.listing import Place
from aiosess.devices.negotiation import best_language, wants_json
from aiosess.devices.rendering import Templates
from aiosess.devices.texts import Speech
from aiosess.errors import StoreUnavailable

# Nothing from elsewhere, no inline script or style, in nobody's frame (ASVS 5.0, 3.4).
HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # Not "no-referrer", with which browsers send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# What the client sent decides what it gets.
_VARY: Final = "Accept, Accept-Language"


def nowhere(_address: str | None, _language: str) -> None:
    """Know no place: no GeoIP file was named."""


class Answers:
    """Makes the responses of one installation of the page."""

    def __init__(self, sign_in: str, speeches: Mapping[str, Speech], place: Place | None) -> None:
        """Take where to sign in again, the languages, and what tells where an address is."""
        self._sign_in = sign_in
        self._speeches = speeches
        self._templates = Templates()
        self.place: Place = place or nowhere
        self.root: web.AbstractResource  # where the page is: set when it is mounted
        self.versions: dict[str, str] = {}  # of the assets, by name

    def speech(self, request: web.Request) -> Speech:
        """Return the language to speak."""
        return self._speeches[best_language(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""), self._speeches)]

    def render(self, request: web.Request, name: str, **context: object) -> Markup:
        """Return a template, filled."""
        root, speech = self.path(), self.speech(request)
        assets = {asset: f"{root}/{asset}?v={version}" for asset, version in self.versions.items()}
        base = {"request": request, "t": speech, "root": root, "assets": assets, "sign_in": self._sign_in}
        return self._templates.render(request, name, base | context)

    def path(self, below: str = "") -> str:
        """Return the path of the page, or of one below it, with the prefix of a sub-application."""
        return str(self.root.url_for()) + below

    def page(
        self, request: web.Request, name: str, status: int = HTTPStatus.OK, *, signed_in: bool, **context: object
    ) -> web.Response:
        """Return a page."""
        text = self.render(request, name, signed_in=signed_in, **context)
        headers = HEADERS | {hdrs.VARY: _VARY, hdrs.CONTENT_LANGUAGE: self.speech(request).language}
        return web.Response(text=text, status=status, content_type="text/html", headers=headers)

    def json(self, content: Mapping[str, Any], status: int = HTTPStatus.OK, kind: str = "json") -> web.Response:
        """Return JSON."""
        text = json.dumps(content, ensure_ascii=False)
        headers = HEADERS | {hdrs.VARY: _VARY}
        return web.Response(text=text, status=status, content_type=f"application/{kind}", headers=headers)

    def problem(self, request: web.Request, status: HTTPStatus, kind: str = "", **details: object) -> web.Response:
        """
        Return what went wrong, as JSON or as a page; nothing in it depends on what was asked for.

        Raises:
            HTTPUnauthorized: nobody is signed in, and the client reads HTML: the application may lead to its sign-in.

        """
        speech, text = self.speech(request), f"problem.{kind or status.value}"
        headers = {hdrs.RETRY_AFTER: str(StoreUnavailable.retry_after)} if status in _TRY_AGAIN else {}
        if wants_json(request.headers.get(hdrs.ACCEPT, "")):
            content: dict[str, object] = {"type": f"urn:aiosess:problem:{kind}"} if kind else {}
            content |= {"title": speech.plain(text), "status": status.value, "detail": speech.plain(f"{text}.about")}
            response = self.json(content | details, status, "problem+json")
        else:
            # All other problems come after it was found out who is asking.
            signed_in = status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE}
            response = self.page(request, "problem", status, signed_in=signed_in, problem=text, code=status.value)
        response.headers.update(headers)
        if status is HTTPStatus.UNAUTHORIZED and response.content_type == "text/html":
            raise web.HTTPUnauthorized(text=response.text, content_type="text/html", headers=_without_type(response))
        return response


_TRY_AGAIN: Final = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)


def redirect(to: str) -> web.HTTPSeeOther:
    """Return a redirect to a path of this origin."""
    return web.HTTPSeeOther(to, headers=HEADERS)


def _without_type(response: web.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name != hdrs.CONTENT_TYPE}
