"""The middleware around each request, and the hook that sees its response before it goes out."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from aiohttp import hdrs, web

from aiosess._postgres.login_race import own_revocations
from aiosess._web.admission import Admission
from aiosess._web.keys import SESSIONS
from aiosess._web.manager import Collaborators, SessionManager
from aiosess._web.successor import Successors
from aiosess._web.transport import CookieTransport, vary_by_cookie, write_cookies
from aiosess._web.visit import Visit
from aiosess.errors import SessionError, StoreUnavailable


class RequestHooks:
    """
    The middleware and the response hook of one installation.

    Attributes:
        unchecked: The routes whose requests are not checked; set at start-up.
        background: The routes whose requests are no activity of the session; set at start-up.
        middleware: To be put before all others.

    """

    def __init__(
        self,
        transport: CookieTransport,
        admission: Admission,
        successors: Successors,
        collaborators: Collaborators,
    ) -> None:
        """Read and send cookies, admit requests, and give handlers a manager that works with ``collaborators``."""
        self._transport = transport
        self._admission = admission
        self._successors = successors
        self._collaborators = collaborators
        # Of this installation, because an application and its sub-application may each have one. The response hook may
        # get another request object than the middleware; they run in the same task.
        self._visit: ContextVar[Visit | None] = ContextVar("aiosess_visit", default=None)
        self._current_visit = self._visit.get
        self.unchecked: frozenset[web.AbstractRoute] = frozenset()
        self.background: frozenset[web.AbstractRoute] = frozenset()
        self.middleware = self._make_middleware()

    def _make_middleware(self) -> Any:  # noqa: ANN401 - aiohttp's own type of a middleware
        current, collaborators = self._visit, self._collaborators
        read, admit = self._transport.read, self._admission.admit

        @web.middleware
        async def sessions(request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
            if self.unchecked and request.match_info.route in self.unchecked:
                response: web.StreamResponse = await handler(request)
                return response
            visit = Visit(request)
            current.set(visit)
            own_revocations.set([])
            known = read(visit)
            if known is not None:
                visit.is_background = bool(self.background) and request.match_info.route in self.background
                await admit(visit, known)
            request[SESSIONS] = SessionManager(visit, collaborators)
            try:
                response = await handler(request)
            except SessionError as error:
                if visit.is_sealed and request.transport is not None:
                    request.transport.close()  # a second response would land in the middle of the first
                raise _as_response(error) from error
            return response

        return sessions

    async def on_response_prepare(self, _request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Send the cookies with the response; from here on they cannot be changed."""
        visit = self._current_visit()
        if visit is None:
            return
        visit.is_sealed = True
        if visit.mints:
            await self._successors.mint(visit, response)
        if visit.outgoing:
            write_cookies(visit, response)
        if visit.varies:
            vary_by_cookie(response)


def _as_response(error: SessionError) -> web.HTTPException:
    headers = {hdrs.CACHE_CONTROL: "no-store"}
    if isinstance(error, StoreUnavailable):
        return web.HTTPServiceUnavailable(headers=headers | {hdrs.RETRY_AFTER: str(error.retry_after)})
    for kind in (web.HTTPUnauthorized, web.HTTPNotFound):
        if kind.status_code == error.status:
            return kind(headers=headers)
    return web.HTTPInternalServerError(headers=headers)
