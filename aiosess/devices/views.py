"""The handlers of the page's routes, for browsers and for programs."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from http import HTTPStatus
from typing import Final, TypeAlias
from urllib.parse import quote

from aiohttp import hdrs, web
from markupsafe import Markup

from aiosess._client.negotiation import wants_json
from aiosess._web.csrf import check_csrf
from aiosess._web.handlers import background
from aiosess._web.keys import STORE, get_sessions
from aiosess._web.manager import SessionManager
from aiosess.devices.listing import PER_PAGE, ListedSession, SessionList, count_pages, stamp_of
from aiosess.devices.responses import HEADERS, Responses, redirect
from aiosess.devices.updates import OpenPages, TooManyPages
from aiosess.errors import CsrfError, NotAuthenticated, SessionNotFound, SessionRevoked, StoreUnavailable
from aiosess.session import Session

# The redirect after a form names a notice in ``?done=``; the address never holds the text itself.
_NOTICES: Final = {"ended": "notice.ended", "others": "notice.others"}
_LAST_PAGE: Final = 1_000_000

_Handler: TypeAlias = Callable[["Views", web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class PageOptions:
    """The options of ``setup_devices()`` that the handlers need."""

    reauthenticate: str | None
    fresh_within: timedelta
    after_logout: str


class _SignInTooOld(Exception):
    """The user's last sign-in is longer ago than ``fresh_within``."""


def _with_problems(handler: _Handler) -> _Handler:
    """Turn the errors of a handler into responses, as JSON or HTML."""

    @wraps(handler)
    async def answer(views: "Views", request: web.Request) -> web.StreamResponse:
        try:
            return await handler(views, request)
        except (NotAuthenticated, SessionNotFound, SessionRevoked, StoreUnavailable) as error:
            return views.responses.problem(request, HTTPStatus(error.status))
        except CsrfError as error:
            return views.responses.problem(request, HTTPStatus.FORBIDDEN, type=error.TYPE, reason=error.reason)
        except _SignInTooOld:
            return views.ask_to_reauthenticate(request)

    return answer


class Views:
    """The handlers of one devices page."""

    def __init__(self, options: PageOptions, responses: Responses, open_pages: OpenPages) -> None:
        """Take the options, the maker of responses, and the pages that browsers have open."""
        self._options = options
        self.responses = responses
        self.open_pages = open_pages

    # GET: the list

    @_with_problems
    async def show(self, request: web.Request) -> web.StreamResponse:
        """Return the page, or its content as JSON."""
        sessions = get_sessions(request)
        if _wants_json(request):
            number = _page_number(request)
            if number is None:
                return self.responses.problem(request, HTTPStatus.BAD_REQUEST)
            listed = await self._list(request, sessions, number)
            return self.responses.json(listed.as_json(sessions.form_token))
        listed = await self._list(request, sessions, _page_number(request) or 1)
        return self.responses.page(request, "devices", signed_in=True, listed=listed, flash=_notice(request))

    @background
    @_with_problems
    async def show_list(self, request: web.Request) -> web.StreamResponse:
        """Return the list alone, for the script; 204 without a session, because browsers log a 401 as an error."""
        sessions = get_sessions(request)
        if not sessions.is_authenticated:
            return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)
        listed = await self._list(request, sessions, _page_number(request) or 1)
        return self.responses.page(request, "list", signed_in=True, listed=listed)

    async def embedded(self, request: web.Request) -> Markup:
        """Return the list with its stylesheet and script, for a page of the application."""
        listed = await self._list(request, get_sessions(request), _page_number(request) or 1)
        return self.responses.render(request, "embedded", listed=listed, signed_in=True)

    @background
    @_with_problems
    async def events(self, request: web.Request) -> web.StreamResponse:
        """Send an event to an open page when the list changes and when its session ends (server-sent events)."""
        sessions = get_sessions(request)
        user_id, known = _require_user(sessions), sessions.current
        response = web.StreamResponse(headers=HEADERS | {hdrs.CONTENT_TYPE: "text/event-stream"})
        # nginx would collect events until a buffer is full.
        response.headers["X-Accel-Buffering"] = "no"
        try:
            # After the browser closed the page, the next write fails.
            with suppress(ConnectionResetError), self.open_pages.add(user_id, request.config_dict[STORE]) as page:
                await response.prepare(request)
                try:
                    async with sessions.guard(response):
                        async for tally in page.tallies():
                            await response.write(b":\n\n" if tally is None else _event("list", stamp_of(tally)))
                except SessionRevoked as error:
                    await response.write(_event("ended", _cause(request, error, known)))
        except TooManyPages:
            return self.responses.problem(request, HTTPStatus.TOO_MANY_REQUESTS)
        return response

    # GET: ask before a session ends

    @_with_problems
    async def ask_end(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to end one session."""
        sessions = get_sessions(request)
        self._require_fresh(sessions, request.match_info["id"])
        session = await sessions.find(request.match_info["id"])
        return self._ask(request, "confirm sign out" if session.is_current else "confirm end", session)

    @_with_problems
    async def ask_end_others(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to end all other sessions."""
        self._require_fresh(get_sessions(request))
        return self._ask(request, "confirm others")

    @_with_problems
    async def ask_everywhere(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to end all sessions, with this one."""
        self._require_fresh(get_sessions(request))
        return self._ask(request, "confirm everywhere")

    # POST: end sessions

    @_with_problems
    async def end(self, request: web.Request) -> web.StreamResponse:
        """End one session; if it is this one, the browser is signed out."""
        sessions = await _checked_sessions(request)
        self._require_fresh(sessions, request.match_info["id"])
        await sessions.revoke(request.match_info["id"])
        return self._ended(request, sessions, 1, "ended")

    @_with_problems
    async def end_others(self, request: web.Request) -> web.StreamResponse:
        """End all other sessions."""
        sessions = await _checked_sessions(request)
        self._require_fresh(sessions)
        return self._ended(request, sessions, await sessions.logout_other(), "others")

    @_with_problems
    async def sign_out_everywhere(self, request: web.Request) -> web.StreamResponse:
        """End all sessions, with this one."""
        sessions = await _checked_sessions(request)
        self._require_fresh(sessions)
        await sessions.logout_all()
        return self._ended(request, sessions, None, "")

    def ask_to_reauthenticate(self, request: web.Request) -> web.StreamResponse:
        """Redirect to the page that asks for the password; it returns to the question, not to the action."""
        link = self._options.reauthenticate and self.responses.link(request, self._options.reauthenticate)
        if link is None or _wants_json(request):
            return self.responses.problem(request, HTTPStatus.FORBIDDEN, "stale", reauthenticate=link)
        location = f"{link}{'&' if '?' in link else '?'}next={quote(request.path, safe='/')}"
        raise redirect(location)

    async def _list(self, request: web.Request, sessions: SessionManager, number: int) -> SessionList:
        page = await sessions.page_my_sessions(limit=PER_PAGE, offset=(number - 1) * PER_PAGE)
        last = count_pages(page.tally.total)
        if number > last and not _wants_json(request):
            # Sessions ended, and the page that the browser asks for is empty: show the last one.
            number = last
            page = await sessions.page_my_sessions(limit=PER_PAGE, offset=(number - 1) * PER_PAGE)
        return SessionList.of(page, number, self.responses.translation(request), self.responses.find_place)

    def _require_fresh(self, sessions: SessionManager, session_id: str | None = None) -> None:
        """Require a recent sign-in, except to end this session (ASVS 5.0, 7.5.2)."""
        _require_user(sessions)
        current = sessions.current
        is_current = current is not None and str(current.id) == session_id
        if not is_current and not sessions.is_fresh(self._options.fresh_within):
            raise _SignInTooOld

    def _ask(self, request: web.Request, question: str, session: Session | None = None) -> web.StreamResponse:
        if _wants_json(request):
            return self.responses.problem(request, HTTPStatus.NOT_ACCEPTABLE)
        translation = self.responses.translation(request)
        now = request.config_dict[STORE].clock.now()
        device = session and ListedSession.of(session, now, translation, self.responses.find_place)
        return self.responses.page(request, "confirm", signed_in=True, question=question, device=device)

    def _ended(
        self, request: web.Request, sessions: SessionManager, count: int | None, notice: str
    ) -> web.StreamResponse:
        signed_in = sessions.is_authenticated
        if _wants_json(request):
            return self.responses.json({"ended": count, "signed_in": signed_in})
        target = self.responses.path(f"?done={notice}") if signed_in else self._options.after_logout
        raise redirect(self.responses.link(request, target))


async def _checked_sessions(request: web.Request) -> SessionManager:
    """Return the manager of a request that ends sessions, after the checks for a user and against CSRF."""
    sessions = get_sessions(request)
    _require_user(sessions)
    await check_csrf(request)
    return sessions


def _require_user(sessions: SessionManager) -> str:
    if sessions.user_id is None:
        raise NotAuthenticated
    return sessions.user_id


def _wants_json(request: web.Request) -> bool:
    return wants_json(request.headers.get(hdrs.ACCEPT, ""))


def _page_number(request: web.Request) -> int | None:
    """Return the number in ``?page=``; None, if it is not a number from 1 to a million."""
    text = request.query.get("page", "1")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(_LAST_PAGE)) else 0
    return number if 1 <= number <= _LAST_PAGE else None


def _notice(request: web.Request) -> str | None:
    # A link on another site must not make the page say that a session was ended.
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        return None
    return _NOTICES.get(request.query.get("done", ""))


def _cause(request: web.Request, error: SessionRevoked, known: Session | None) -> str:
    """Return why a session ended, for the script: "expired", "unknown", or "" if somebody ended it."""
    if error.has_expired:
        return "expired"
    if known is not None and known.expires_at > request.config_dict[STORE].clock.now():
        return ""
    return "unknown"  # a sweep may have deleted the row just after its time


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()
