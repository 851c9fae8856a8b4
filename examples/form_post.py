"""
Sign in with an identity provider that answers by a cross-site POST: Apple, SAML, ``response_mode=form_post``.

docs/sign-in.md explains the steps. ``add_sign_in(app, provider, secret)`` adds them to an application that has called
``aiosess.setup()``.
"""

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, NoReturn
from urllib.parse import urlencode

import jwt
from aiohttp import hdrs, web

import aiosess

# The state says that the answer belongs to a sign-in of this browser. Its cookie is SameSite=None, or it would not come
# with a cross-site POST. The ticket says who was identified; our own page brings it back.
STATE, TICKET = "__Host-sign-in-state", "__Host-sign-in-ticket"
STATE_LASTS, TICKET_LASTS = 600, 60  # seconds

# A refresh is a request of this page, so the browser sends the session's cookie with it, a SameSite=Strict one too.
PAGE = """<!doctype html>
<html lang="en"><title>Signing in</title>
<meta http-equiv="refresh" content="0; url=/sign-in/finish">
<p><a href="/sign-in/finish">Continue</a></p></html>
"""


@dataclass(frozen=True)
class Provider:
    """
    An identity provider.

    Attributes:
        authorize: Where it asks users who they are.
        options: What it has to be told: client_id, redirect_uri, scope, …
        identify: Checks its answer (the form, and the nonce that an id_token has to carry) as its documentation says,
            and returns the application's id of the user; None: the answer is not good.

    """

    authorize: str
    options: Mapping[str, str]
    identify: Callable[[Mapping[str, Any], str], Awaitable[str | None]]


class SignIn:
    """The steps of a sign-in."""

    def __init__(self, provider: Provider, secret: str) -> None:
        """Sign tickets with a secret of at least 32 random characters, which is not the one of aiosess."""
        self._provider = provider
        self._key = secret.encode()

    async def begin(self, _request: web.Request) -> NoReturn:
        """Send the user to the provider."""
        state = secrets.token_urlsafe(32)
        query = {**self._provider.options, "response_mode": "form_post", "state": state, "nonce": _nonce(state)}
        response = web.HTTPSeeOther(f"{self._provider.authorize}?{urlencode(query)}")
        _set(response, STATE, state, STATE_LASTS, "None")
        raise response

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Take the provider's answer, which comes without the session's cookie, and let our own page go on."""
        user_id = await self._identified(request)
        ticket = jwt.encode({"sub": user_id, "exp": int(time.time()) + TICKET_LASTS, "aud": TICKET}, self._key)
        response = web.Response(text=PAGE, content_type="text/html", headers={hdrs.CACHE_CONTROL: "no-store"})
        _set(response, STATE, "", 0, "None")
        _set(response, TICKET, ticket, TICKET_LASTS, "Lax")
        return response

    async def finish(self, request: web.Request) -> NoReturn:
        """Sign the user in. This request has the session's cookie: the browser's earlier session ends."""
        try:
            ticket = jwt.decode(_cookie(request, TICKET), self._key, ["HS256"], audience=TICKET)
        except jwt.InvalidTokenError:
            raise web.HTTPForbidden(text="This sign-in took too long. Please start again.") from None
        await aiosess.get_sessions(request).authenticate(ticket["sub"])
        response = web.HTTPSeeOther("/")
        _set(response, TICKET, "", 0, "Lax")
        raise response

    async def answer_at_once(self, request: web.Request) -> NoReturn:
        """Sign the user in without the page between. The browser's earlier session does not end: nobody uses it."""
        await aiosess.get_sessions(request).authenticate(await self._identified(request))
        response = web.HTTPSeeOther("/")
        _set(response, STATE, "", 0, "None")
        raise response

    async def _identified(self, request: web.Request) -> str:
        """Return who the provider says the user is, if the answer belongs to a sign-in that this browser began."""
        form = await request.post()
        state = _cookie(request, STATE)
        # Without this comparison anybody could make a browser sign in as somebody else (login CSRF). It takes the place
        # of csrf_protected, which refuses every cross-site POST.
        if not state or not compare_digest(state.encode(), str(form.get("state", "")).encode()):
            raise web.HTTPForbidden(text="This sign-in was not begun here. Please start again.")
        user_id = await self._provider.identify(form, _nonce(state))
        if user_id is None:
            raise web.HTTPForbidden(text="The identity provider did not confirm who you are.")
        return user_id


def add_sign_in(app: web.Application, provider: Provider, secret: str) -> None:
    """Add the steps; register https://…/sign-in/answer as the redirect URI (SAML: the assertion consumer service)."""
    sign_in = SignIn(provider, secret)
    app.add_routes(
        [
            web.get("/sign-in", sign_in.begin),
            web.post("/sign-in/answer", sign_in.answer),
            web.get("/sign-in/finish", sign_in.finish),
            web.post("/sign-in/answer-at-once", sign_in.answer_at_once),
        ]
    )


def _nonce(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()


def _cookie(request: web.Request, name: str) -> str:
    """
    Return a cookie's value; empty if it is absent, or if there are two.

    ``request.cookies`` also splits at spaces, so a sibling domain could plant
    a cookie whose name only looks like ours.
    """
    lines = ";".join(request.headers.getall(hdrs.COOKIE, ())).split(";")
    values = {value for key, _, value in (line.strip(" \t").partition("=") for line in lines) if key == name}
    return values.pop() if len(values) == 1 else ""


def _set(response: web.StreamResponse, name: str, value: str, max_age: int, samesite: str) -> None:
    """Set a cookie of this origin; with no time to last it is deleted."""
    response.set_cookie(name, value, max_age=max_age, path="/", secure=True, httponly=True, samesite=samesite)
