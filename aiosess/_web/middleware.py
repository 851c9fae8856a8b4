"""The middleware around each request, and the hook that sees its response before it goes out."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from aiohttp import web
from aiohttp.hdrs import COOKIE

from aiosess._postgres.login_race import own_revocations
from aiosess._token.reader import KnownToken
from aiosess._web.admission import Admission
from aiosess._web.caching import WHOLE, forbid_caching, vary_by_cookie
from aiosess._web.handlers import Treatment
from aiosess._web.keys import SESSIONS
from aiosess._web.manager import Collaborators, SessionManager, internals_of
from aiosess._web.successor import Successors
from aiosess._web.transport import CookieTransport, write_cookies
from aiosess._web.visit import NOT_CHECKED, Visit
from aiosess.config import SessionConfig


class RequestHooks:
    """
    The middleware and the response hook of one installation.

    Attributes:
        treatments: The routes that are treated in a way of their own; filled at start-up.
        middleware: To be put before all others.
        on_response_prepare: Sends the cookies with a response; from there on they cannot be changed.

    """

    def __init__(
        self,
        transport: CookieTransport,
        admission: Admission,
        successors: Successors,
        collaborators: Collaborators,
        config: SessionConfig,
    ) -> None:
        """Read and send cookies, admit requests, and give handlers a manager that works with ``collaborators``."""
        self._transport = transport
        self._admission = admission
        self._successors = successors
        self._collaborators = collaborators
        # Of this installation, because an application and its sub-application may each have one. The response hook may
        # get another request object than the middleware; they run in the same task.
        self._visit: ContextVar[Visit | None] = ContextVar("aiosess_visit", default=None)
        self._waiting = web.ResponseKey("aiosess_waiting", tuple[Visit, web.UrlMappingMatchInfo])
        self.treatments: dict[web.AbstractRoute, Treatment] = {}
        self._forbids_caching = config.no_store_when_signed_in
        self.middleware = self._make_middleware()
        self.on_response_prepare = self._make_response_hook()

    def _make_middleware(self) -> Any:  # noqa: ANN401 - aiohttp's own type of a middleware
        # Each request passes here: a name costs less to look up than an attribute.
        enter, forget_revocations, collaborators = self._visit.set, own_revocations.set, self._collaborators
        read, admit, treatments = self._transport.read, self._admission.admit, self.treatments

        @web.middleware
        async def sessions(request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
            visit = Visit(request)
            enter(visit)
            forget_revocations([])
            if treatments and request.match_info.route in treatments:
                known = self._read_as_treated(visit, treatments[request.match_info.route])
            else:
                known = read(visit) if COOKIE in visit.headers else None
            if known is not None:
                await admit(visit, known)
            request[SESSIONS] = SessionManager(visit, collaborators)
            try:
                response: web.StreamResponse = await handler(request)
            except web.HTTPException as error:
                self._let_wait(visit, request, error)
                raise
            if visit.outgoing is not None:  # most responses carry nothing
                self._let_wait(visit, request, response)
            return response

        return sessions

    def _read_as_treated(self, visit: Visit, treatment: Treatment) -> KnownToken | None:
        if treatment is Treatment.UNCHECKED:
            visit.unknown = NOT_CHECKED
            return None
        visit.is_background = True
        return self._transport.read(visit)

    def _let_wait(self, visit: Visit, request: web.Request, response: web.StreamResponse) -> None:
        """Leave word with the response of what is to go out with it: the hook may find neither context nor request."""
        outgoing = visit.outgoing
        if outgoing is not None and not visit.is_sealed:
            response[self._waiting] = visit, request.match_info
            outgoing.waits = bool(outgoing.cookies)

    def _make_response_hook(self) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
        current_visit, forbids_caching = self._visit.get, self._forbids_caching

        async def on_response_prepare(request: web.Request, response: web.StreamResponse) -> None:
            visit = current_visit() or self._find_visit(request, response)
            if visit is None:
                if self.treatments.get(request.match_info.route) is not Treatment.UNCHECKED:
                    vary_by_cookie(response)  # perhaps a lost request of ours
                return
            if visit.is_sealed:
                _cut_off(request)
                return
            visit.is_sealed = True
            outgoing = visit.outgoing
            if outgoing is not None:
                if outgoing.mints:
                    await self._successors.mint(visit, response)
                if outgoing.cookies:
                    write_cookies(outgoing, response)
            # The handler of a stream may still ask who is asking.
            if visit.varies or (not isinstance(response, WHOLE) and visit.unknown is not NOT_CHECKED):
                vary_by_cookie(response)
                if forbids_caching and visit.row is not None:
                    forbid_caching(response)

        return on_response_prepare

    def _find_visit(self, request: web.Request, response: web.StreamResponse) -> Visit | None:
        """Find the request's visit when a middleware outside of ours runs the handler in a task of its own."""
        manager = request.get(SESSIONS)
        if manager is not None:
            visit, collaborators = internals_of(manager)
            if collaborators is self._collaborators:
                return visit
        visit, match_info = response.get(self._waiting, (None, None))
        # An application may use one response object for several requests.
        return visit if match_info is request.match_info else None


def _cut_off(request: web.Request) -> None:
    """
    Close the connection if a second response is about to be written into the first.

    An error middleware around a stream that has begun answers once more, and the client would read the second status
    line as a part of the body (RFC 9112, 11.1).
    """
    writer = request.writer
    # If the headers of the first response wait in aiohttp's buffer, the second replaces it, unless it set up chunks.
    if request.transport is not None and (writer.output_size or getattr(writer, "chunked", False)):
        request.transport.close()
