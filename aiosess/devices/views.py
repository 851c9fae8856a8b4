"""The page's routes, for people and for programs."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from aiohttp import hdrs, web
from markupsafe import Markup

from aiosess._web.csrf import check_csrf
from aiosess._web.keys import STORE, get_sessions
from aiosess._web.manager import SessionManager
from aiosess.devices.listing import PER_PAGE, DeviceList, as_json, count_pages, device_of, list_of, stamp_of
from aiosess.devices.negotiation import wants_json
from aiosess.devices.responses import HEADERS, Answers, redirect
from aiosess.devices.updates import TooManyPages, Watch
from aiosess.errors import NotAuthenticated, SessionNotFound, SessionRevoked, StoreUnavailable
from aiosess.session import Session

# What the page says after a form was sent; the address names the message and never holds its text.
_FLASHES: Final = {"ended": "notice.ended", "others": "notice.others"}
_LAST_PAGE: Final = 1_000_000

_Handler: TypeAlias = Callable[["Views", web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Rules:
    """Where visitors are led to, and how recent their sign-in must be."""

    reauthenticate: str | None
    fresh_within: timedelta
    after_logout: str


class _Stale(Exception):
    """The last proof of who the user is, is too old."""


def _answering(handler: _Handler) -> _Handler:
    """Turn what a handler raises into a response in the client's form."""

    @wraps(handler)
    async def answer(views: "Views", request: web.Request) -> web.StreamResponse:
        try:
            return await handler(views, request)
        except (NotAuthenticated, SessionNotFound, SessionRevoked, StoreUnavailable) as error:
            return views.answers.problem(request, HTTPStatus(error.status))
        except web.HTTPForbidden:
            return views.answers.problem(request, HTTPStatus.FORBIDDEN)
        except _Stale:
            return views.lead_to_proof(request)

    return answer


class Views:
    """The handlers of one installation of the page."""

    def __init__(self, rules: Rules, answers: Answers, watch: Watch) -> None:
        """Take what they work with."""
        self._rules = rules
        self.answers = answers
        self.watch = watch

    # Looking

    @_answering
    async def show(self, request: web.Request) -> web.StreamResponse:
        """List the sessions of whoever is signed in."""
        sessions = get_sessions(request)
        if _is_program(request):
            number = _page_number(request)
            if number is None:
                return self.answers.problem(request, HTTPStatus.BAD_REQUEST)
            listed = await self._list(request, sessions, number)
            return self.answers.json(as_json(listed, sessions.form_token))
        listed = await self._list(request, sessions, _page_number(request) or 1)
        return self.answers.page(request, "devices", signed_in=True, listed=listed, flash=_flash(request))

    @_answering
    async def fragment(self, request: web.Request) -> web.StreamResponse:
        """Return the list alone, for the script; 204 without a session: browsers would show a 401 as an error."""
        sessions = get_sessions(request)
        if not sessions.is_authenticated:
            return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)
        listed = await self._list(request, sessions, _page_number(request) or 1)
        return self.answers.page(request, "list", signed_in=True, listed=listed)

    async def embedded(self, request: web.Request) -> Markup:
        """Return the list with all that belongs to it, for a page of the application's own."""
        listed = await self._list(request, get_sessions(request), _page_number(request) or 1)
        return self.answers.render(request, "embedded", listed=listed, signed_in=True)

    @_answering
    async def events(self, request: web.Request) -> web.StreamResponse:
        """Tell an open page when the list has changed, and when its own session has ended (server-sent events)."""
        sessions = get_sessions(request)
        user_id = _require_user(sessions)
        response = web.StreamResponse(headers=HEADERS | {hdrs.CONTENT_TYPE: "text/event-stream"})
        # nginx would keep events back until a buffer is full.
        response.headers["X-Accel-Buffering"] = "no"
        try:
            # A page that is closed shows at the next write.
            with suppress(ConnectionResetError), self.watch.page(user_id, request.config_dict[STORE]) as page:
                await response.prepare(request)
                try:
                    async with sessions.guard(response):
                        async for tally in page.tallies():
                            await response.write(b":\n\n" if tally is None else _event("list", stamp_of(tally)))
                except SessionRevoked:
                    await response.write(_event("ended", ""))
        except TooManyPages:
            return self.answers.problem(request, HTTPStatus.TOO_MANY_REQUESTS)
        return response

    # Asking first: these change nothing

    @_answering
    async def ask_end(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to end one session."""
        sessions = get_sessions(request)
        self._require_proof(sessions, request.match_info["id"])
        session = await sessions.find(request.match_info["id"])
        return self._ask(request, "confirm sign out" if session.is_current else "confirm end", session)

    @_answering
    async def ask_end_others(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to end all sessions but this one."""
        self._require_proof(get_sessions(request))
        return self._ask(request, "confirm others")

    @_answering
    async def ask_everywhere(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to end all sessions, this one too."""
        self._require_proof(get_sessions(request))
        return self._ask(request, "confirm everywhere")

    # Ending

    @_answering
    async def end(self, request: web.Request) -> web.StreamResponse:
        """End one session; ending this one signs out."""
        sessions = await _of_our_form(request)
        self._require_proof(sessions, request.match_info["id"])
        await sessions.revoke(request.match_info["id"])
        return self._ended(request, sessions, 1, "ended")

    @_answering
    async def end_others(self, request: web.Request) -> web.StreamResponse:
        """End all sessions but this one."""
        sessions = await _of_our_form(request)
        self._require_proof(sessions)
        return self._ended(request, sessions, await sessions.logout_other(), "others")

    @_answering
    async def sign_out_everywhere(self, request: web.Request) -> web.StreamResponse:
        """End all sessions, this one too."""
        sessions = await _of_our_form(request)
        self._require_proof(sessions)
        await sessions.logout_all()
        return self._ended(request, sessions, None, "")

    def lead_to_proof(self, request: web.Request) -> web.StreamResponse:
        """Send the visitor to prove again who they are; from there it goes on with asking whether to do it."""
        page = self._rules.reauthenticate
        if _is_program(request):
            return self.answers.problem(request, HTTPStatus.FORBIDDEN, "stale", reauthenticate=page)
        if page is None:
            return self.answers.problem(request, HTTPStatus.FORBIDDEN, "stale")
        location = f"{page}{'&' if '?' in page else '?'}next={quote(request.path, safe='/')}"
        raise redirect(location)

    async def _list(self, request: web.Request, sessions: SessionManager, number: int) -> DeviceList:
        page = await sessions.page_my_sessions(limit=PER_PAGE, offset=(number - 1) * PER_PAGE)
        last = count_pages(page.tally.total)
        if number > last and not _is_program(request):
            # The last page was left empty by what has ended meanwhile.
            number = last
            page = await sessions.page_my_sessions(limit=PER_PAGE, offset=(number - 1) * PER_PAGE)
        return list_of(page, number, self.answers.speech(request), self.answers.place)

    def _require_proof(self, sessions: SessionManager, session_id: str | None = None) -> None:
        """Demand a recent proof of who the user is, except to end this session (ASVS 5.0, 7.5.2)."""
        _require_user(sessions)
        current = sessions.current
        is_this = current is not None and str(current.id) == session_id
        if not is_this and not sessions.is_fresh(self._rules.fresh_within):
            raise _Stale

    def _ask(self, request: web.Request, question: str, session: Session | None = None) -> web.StreamResponse:
        if _is_program(request):
            return self.answers.problem(request, HTTPStatus.NOT_ACCEPTABLE)
        speech = self.answers.speech(request)
        now = request.config_dict[STORE].clock.now()
        device = None if session is None else device_of(session, now, speech, self.answers.place)
        return self.answers.page(request, "confirm", signed_in=True, question=question, device=device)

    def _ended(
        self, request: web.Request, sessions: SessionManager, count: int | None, notice: str
    ) -> web.StreamResponse:
        signed_in = sessions.is_authenticated
        if _is_program(request):
            return self.answers.json({"ended": count, "signed_in": signed_in})
        raise redirect(self.answers.path(f"?done={notice}") if signed_in else self._rules.after_logout)


async def _of_our_form(request: web.Request) -> SessionManager:
    """Return the manager of a request that changes something, if it came from a page of ours."""
    sessions = get_sessions(request)
    _require_user(sessions)
    await check_csrf(request)
    return sessions


def _require_user(sessions: SessionManager) -> str:
    if sessions.user_id is None:
        raise NotAuthenticated
    return sessions.user_id


def _is_program(request: web.Request) -> bool:
    return wants_json(request.headers.get(hdrs.ACCEPT, ""))


def _page_number(request: web.Request) -> int | None:
    """Return the page that the address names; None: it names none that can be."""
    text = request.query.get("page", "1")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(_LAST_PAGE)) else 0
    return number if 1 <= number <= _LAST_PAGE else None


def _flash(request: web.Request) -> str | None:
    # A link from elsewhere must not make the page say that something was ended.
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        return None
    return _FLASHES.get(request.query.get("done", ""))


def _event(name: str, data: Any) -> bytes:  # noqa: ANN401 - text or a number
    return f"event: {name}\ndata: {data}\n\n".encode()
