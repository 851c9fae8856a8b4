"""The handlers of the pages and their forms."""

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from math import ceil
from typing import NoReturn, Self
from urllib.parse import urlencode

from aiohttp import hdrs, web

import aiosess
from aiosess.devices import local_path
from demo.accounts import ACCOUNTS, Account
from demo.pages import COOKIE, page
from demo.throttle import THROTTLE

LONGEST_NOTE = 2000  # characters

WRONG = "That name and password do not go together."
TOO_OFTEN = "Too many tries. Please try again in {}."


@dataclass(frozen=True, slots=True)
class Refusal:
    """The message for a refused password; the user has to wait ``wait`` seconds before another try."""

    text: str
    wait: int = 0

    @classmethod
    def too_often(cls, wait: int) -> Self:
        """Ask the user to wait some minutes."""
        minutes = ceil(wait / 60)
        return cls(TOO_OFTEN.format("a minute" if minutes == 1 else f"{minutes} minutes"), wait)


# The redirect after a form names a notice in ``?done=``; the address never holds the text itself.
NOTICES = {
    "signed-out": "You are signed out.",
    "saved": "Saved in this session.",
    "removed": "Removed from this session.",
}


async def sign_in_page(request: web.Request) -> web.StreamResponse:
    """Show the sign-in form."""
    wanted = local_path(request.query.get("next", "/"))
    if request[aiosess.SESSIONS].is_authenticated:
        raise _redirect(to=wanted)
    context = _sign_in(wanted) | {"asked": wanted != "/", "ended": request.app[COOKIE] in request.cookies}
    return page(request, "sign_in", context | _notice(request))


@aiosess.csrf_protected(sign_in=True)
async def sign_in(request: web.Request) -> web.StreamResponse:
    """Check name and password and start a session."""
    form = await _form(request)
    name, wanted = form.get("name", ""), local_path(form.get("next", "/"))
    account = await _try_password(request, name, form.get("password", ""))
    if isinstance(account, Refusal):
        return _refuse(request, "sign_in", account, _sign_in(wanted) | {"name": name[:32]})
    await request[aiosess.SESSIONS].authenticate(account.id, remember="remember" in form)
    raise _redirect(to=wanted)


@aiosess.csrf_protected
async def sign_out(request: web.Request) -> NoReturn:
    """End this session."""
    await request[aiosess.SESSIONS].logout()
    raise _redirect(to="/sign-in", done="signed-out")


async def home(request: web.Request) -> web.StreamResponse:
    """Show the home page."""
    context = {"account": await _account(request), "session": request[aiosess.SESSIONS].current}
    return page(request, "home", context)


@aiosess.csrf_protected
async def theft_seen(request: web.Request) -> NoReturn:
    """Forget the thefts that the user has read of, for all sessions of the account."""
    account, form = await _account(request), await _form(request)
    try:
        seen = datetime.fromisoformat(form.get("seen", "")).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise web.HTTPBadRequest from error
    await request.app[ACCOUNTS].forget_thefts(account.id, seen)
    raise _redirect(to=local_path(form.get("next", "/")))


async def notes_page(request: web.Request) -> web.StreamResponse:
    """Show the data of this session."""
    return page(request, "notes", await _notes(request) | _notice(request))


async def save_note(request: web.Request) -> web.StreamResponse:
    """Keep a note in this session's data; where that cannot be, show the form again with the text."""
    account = await _account(request)
    text = (await _form(request)).get("note", "").replace("\r\n", "\n")
    error = await _keep_note(request, text)
    if error is not None:
        context = await _notes(request) | {"account": account, "note": text, "error": error, "notice": None}
        return page(request, "notes", context, HTTPStatus.UNPROCESSABLE_ENTITY)
    raise _redirect(to="/notes", done="saved")


@aiosess.csrf_protected
async def remove_note(request: web.Request) -> NoReturn:
    """Remove the note from this session's data."""
    await request[aiosess.SESSIONS].remove_key("note")
    raise _redirect(to="/notes", done="removed")


@aiosess.csrf_protected
async def count(request: web.Request) -> NoReturn:
    """Count one more; PostgreSQL counts, so two clicks at once are two."""
    await request[aiosess.SESSIONS].increment("count")
    raise _redirect(to="/notes")


async def confirm_page(request: web.Request) -> web.StreamResponse:
    """Ask for the password again."""
    context = {"account": await _account(request), "next": local_path(request.query.get("next", "/")), "error": None}
    return page(request, "confirm", context)


@aiosess.csrf_protected
async def confirm(request: web.Request) -> web.StreamResponse:
    """Check the password again, and call ``reauthenticated()``."""
    account = await _account(request)
    form = await _form(request)
    wanted = local_path(form.get("next", "/"))
    proven = await _try_password(request, account.name, form.get("password", ""))
    if isinstance(proven, Refusal):
        return _refuse(request, "confirm", proven, {"account": account, "next": wanted})
    await request[aiosess.SESSIONS].reauthenticated()
    raise _redirect(to=wanted)


ROUTES = (
    web.get("/", home),
    web.post("/theft-seen", theft_seen),
    web.get("/sign-in", sign_in_page),
    web.post("/sign-in", sign_in),
    web.post("/sign-out", sign_out),
    web.get("/notes", notes_page),
    web.post("/notes", save_note),
    web.post("/notes/remove", remove_note),
    web.post("/notes/count", count),
    web.get("/confirm", confirm_page),
    web.post("/confirm", confirm),
)


def _sign_in(wanted: str) -> dict[str, object]:
    return {"next": wanted, "asked": False, "ended": False, "name": "", "error": None, "notice": None}


async def _account(request: web.Request) -> Account:
    """Return the account of the session; without a session, ask the user to sign in."""
    sessions = request[aiosess.SESSIONS]
    if sessions.user_id is None:
        raise aiosess.NotAuthenticated
    account = await request.app[ACCOUNTS].find(sessions.user_id)
    if account is None:
        await sessions.logout_all()
        raise aiosess.NotAuthenticated
    return account


async def _keep_note(request: web.Request, text: str) -> str | None:
    """Keep a note, or return why that cannot be."""
    try:
        await aiosess.check_csrf(request)
        if len(text) > LONGEST_NOTE:
            return f"A note has at most {LONGEST_NOTE} characters."
        await request[aiosess.SESSIONS].set("note", text)
    except aiosess.CsrfError as error:
        if error.reason == "origin":
            raise
        return "You have signed in again since you opened this page. Please save once more."
    except aiosess.InvalidData:
        return "A note cannot hold these characters."
    return None


async def _notes(request: web.Request) -> dict[str, object]:
    account, sessions = await _account(request), request[aiosess.SESSIONS]
    return {
        "account": account,
        "note": sessions.get("note", str, default=""),
        "count": sessions.get("count", int, default=0),
        "longest": LONGEST_NOTE,
        "error": None,
    }


async def _try_password(request: web.Request, name: str, password: str) -> Account | Refusal:
    """Return the account, or a refusal that is the same for a wrong name and a wrong password."""
    throttle, key = request.app[THROTTLE], (request.remote or "", name.strip().lower()[:33])
    if wait := throttle.wait(*key):
        return Refusal.too_often(wait)
    account = await request.app[ACCOUNTS].check(name, password)
    if account is None:
        return Refusal(WRONG)
    throttle.forget(*key)
    return account


def _refuse(request: web.Request, name: str, refusal: Refusal, context: dict[str, object]) -> web.Response:
    """Return the form again, with the reason."""
    status = HTTPStatus.TOO_MANY_REQUESTS if refusal.wait else HTTPStatus.FORBIDDEN
    response = page(request, name, context | {"error": refusal.text}, status)
    if refusal.wait:
        response.headers[hdrs.RETRY_AFTER] = str(refusal.wait)
    return response


async def _form(request: web.Request) -> dict[str, str]:
    """Return the fields of a form; refuse other content types."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPUnsupportedMediaType
    try:
        fields = await request.post()
    except (ValueError, LookupError) as error:  # text that does not decode; a charset that does not exist
        raise web.HTTPBadRequest from error
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _notice(request: web.Request) -> dict[str, str | None]:
    return {"notice": NOTICES.get(request.query.get("done", ""))}


def _redirect(*, to: str, done: str | None = None) -> web.HTTPSeeOther:
    """Return the redirect after a form; ``done`` names the notice on the next page."""
    address = to if done is None else f"{to}?{urlencode({'done': done})}"
    return web.HTTPSeeOther(address, headers={hdrs.CACHE_CONTROL: "no-store"})
