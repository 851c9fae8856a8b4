"""aiosess in an aiohttp application: ``setup()``, the middleware and the response hook."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from aiohttp import hdrs, web

from aiosess._check.checker import Checker
from aiosess._client.device import warm_up
from aiosess._postgres import schema
from aiosess._postgres.database import Database, Pool
from aiosess._postgres.login_race import own_revocations
from aiosess._postgres.request_store import RequestStore
from aiosess._postgres.upkeep import Upkeep, repeat
from aiosess._signals import Dispatcher
from aiosess._token.cookie import Cookie
from aiosess._token.keys import Keyring
from aiosess._token.reader import TokenReader
from aiosess._token.token import longest_token
from aiosess._web.keys import SESSIONS, STORE
from aiosess._web.manager import SessionManager
from aiosess._web.open_connections import ASK_EVERY, Guards
from aiosess._web.visit import Services, Visit
from aiosess.config import SessionConfig
from aiosess.errors import ConfigError, SchemaMismatch, SessionError, StoreUnavailable

log = logging.getLogger("aiosess")

Handler = TypeVar("Handler", bound=Callable[..., Any])

MAX_COOKIE_BYTES: Final = 512
CONNECT_AGAIN_EVERY: Final = 1.0  # seconds
_UNCHECKED = "__aiosess_unchecked__"


def setup(
    app: web.Application,
    *,
    secret: str | bytes | Sequence[str | bytes],
    dsn: str | None = None,
    pool: Pool | web.AppKey[Pool] | None = None,
    config: SessionConfig | None = None,
    **options: Any,  # noqa: ANN401 - any option of SessionConfig
) -> None:
    """
    Install sessions in an application: afterwards handlers have ``request["sessions"]``.

    The middleware is put before all others, so that they have it too. The
    tables are made at start-up (``migrate``). A server that is down at
    start-up is waited for; until then, pages that touch the session are 503.

    What the application appends to ``on_response_prepare`` later sees the
    cookie, and must leave ``Set-Cookie`` and ``Cache-Control: no-store`` alone.

    Args:
        app: The application, or a sub-application, before it starts.
        secret: At least 32 bytes of random text, or a list of several, newest first, while a new
            one takes over.
        dsn: Where PostgreSQL is; a pool of our own is made and closed.
        pool: A pool of the application instead, or the ``web.AppKey`` under which it is by start-up;
            it is never closed.
        config: The options; single ones may follow by name.
        **options: Any option of ``SessionConfig``.

    Raises:
        ConfigError: an option is wrong, unknown, or missing; the message names it.

    """
    if STORE in app:
        message = "aiosess.setup() was called twice for this application"
        raise ConfigError(message)
    if app.pre_frozen:
        message = "aiosess.setup() must be called before the application starts or is added to another"
        raise ConfigError(message)
    if (dsn is None) == (pool is None):
        message = "dsn, pool: give exactly one of the two"
        raise ConfigError(message)
    _check_kind("dsn", dsn, str)
    _check_kind("pool", pool, (Pool, web.AppKey))
    _check_kind("config", config, SessionConfig)
    final = (config or SessionConfig()).with_options(options)
    _Plugin(app, Keyring(secret), final, dsn if pool is None else pool)


def unchecked(handler: Handler) -> Handler:
    """Mark a handler or view whose requests are not checked; it has no ``request["sessions"]``."""
    setattr(handler, _UNCHECKED, True)
    return handler


class _Plugin:
    """One installation: its parts, from start-up to shutdown."""

    def __init__(self, app: web.Application, keyring: Keyring, config: SessionConfig, source: Any) -> None:  # noqa: ANN401 - DSN, pool or key
        """Put the parts together and hook them in."""
        self._source = source
        self._config = config
        self._dispatcher = Dispatcher(config.on_event)
        self._database = Database(config)
        store = RequestStore(self._database, config, self._dispatcher.emit)
        checker = Checker(store, config)
        self._services = Services(
            config=config,
            cookie=_checked_cookie(keyring, config),
            clock=self._database.clock,
            keyring=keyring,
            reader=TokenReader(keyring, config.audience, config.max_held_sessions),
            store=store,
            checker=checker,
            upkeep=Upkeep(store, config),
            guards=Guards(store, checker),
            emit=self._dispatcher.emit,
        )
        self._database.on_lost(checker.forget_all)
        # Per installation, because an application and its sub-application may each have one. The response hook may
        # get another request object than the middleware saw; they run in the same task.
        self._visit: ContextVar[Visit | None] = ContextVar("aiosess_visit", default=None)
        self._unchecked: frozenset[web.AbstractRoute] = frozenset()
        app[STORE] = store
        app.middlewares.insert(0, self._middleware())
        app.on_response_prepare.append(self._on_response_prepare)
        app.on_shutdown.append(self._services.guards.stop)
        app.cleanup_ctx.append(self._run)

    # Per request

    def _middleware(self) -> Any:  # noqa: ANN401 - aiohttp's own type of a middleware
        services, current = self._services, self._visit

        @web.middleware
        async def sessions(request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
            if self._unchecked and request.match_info.route in self._unchecked:
                response: web.StreamResponse = await handler(request)
                return response
            visit = Visit(services, request)
            current.set(visit)
            own_revocations.set([])
            known = visit.presented()
            if known is not None:
                await visit.admit(known)
            request[SESSIONS] = SessionManager(visit)
            try:
                response = await handler(request)
            except SessionError as error:
                if visit.is_sealed and request.transport is not None:
                    request.transport.close()  # a second response would land in the middle of the first
                raise _as_response(error) from error
            return response

        return sessions

    async def _on_response_prepare(self, _request: web.BaseRequest, response: web.StreamResponse) -> None:
        visit = self._visit.get()
        if visit is None:
            return
        if visit.seal():
            cookie = await visit.outgoing(response)
            if cookie is not None:
                _send_cookie(response, cookie)
        if visit.looked:
            _vary_by_cookie(response)

    # Start-up and shutdown

    async def _run(self, app: web.Application) -> AsyncIterator[None]:
        self._unchecked = frozenset(filter(_is_unchecked, app.router.routes()))
        await self._open(app)
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._prepare()
        except StoreUnavailable as error:
            log.error("aiosess: %s; sessions are unavailable until it does; trying again every second", error)  # noqa: TRY400 - a traceback says no more
            tasks.append(asyncio.create_task(self._prepare_later()))
        except BaseException:
            # aiohttp does not clean up what did not start.
            await self._database.close()
            raise
        tasks.append(asyncio.create_task(self._services.upkeep.run()))
        tasks.append(asyncio.create_task(repeat(self._services.guards.ask, ASK_EVERY)))
        tasks.append(asyncio.create_task(asyncio.to_thread(warm_up)))
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._services.upkeep.flush()
        await self._dispatcher.drain()
        await self._database.close()

    async def _open(self, app: web.Application) -> None:
        source = self._source
        if isinstance(source, str):
            await self._database.connect(source)
        else:
            self._database.use(app.get(source) if isinstance(source, web.AppKey) else source)

    async def _prepare(self) -> None:
        await schema.prepare(self._database, self._config.schema, migrate=self._config.migrate)

    async def _prepare_later(self) -> None:
        """Go on trying when the server was down at start-up; a wrong schema may still be put right by a DBA."""
        while not await self._is_prepared():  # noqa: ASYNC110 - a server that is down sends no events
            await asyncio.sleep(CONNECT_AGAIN_EVERY)

    async def _is_prepared(self) -> bool:
        try:
            await self._prepare()
        except StoreUnavailable:
            return False
        except SchemaMismatch as error:
            log.critical("aiosess: %s; sessions are unavailable until then", error)
            return False
        log.warning("aiosess: PostgreSQL answers; sessions are available")
        return True


def _is_unchecked(route: web.AbstractRoute) -> bool:
    return isinstance(route.resource, web.StaticResource) or hasattr(route.handler, _UNCHECKED)


def _as_response(error: SessionError) -> web.HTTPException:
    headers = {hdrs.CACHE_CONTROL: "no-store"}
    if isinstance(error, StoreUnavailable):
        return web.HTTPServiceUnavailable(headers=headers | {hdrs.RETRY_AFTER: str(error.retry_after)})
    for kind in (web.HTTPUnauthorized, web.HTTPNotFound):
        if kind.status_code == error.status:
            return kind(headers=headers)
    return web.HTTPInternalServerError(headers=headers)


def _send_cookie(response: web.StreamResponse, cookie: str) -> None:
    # An application may share one dict of headers between responses: what is added to it would go to others.
    response._headers = response.headers.copy()  # noqa: SLF001 - there is no public way
    response.headers.add(hdrs.SET_COOKIE, cookie)
    response.headers[hdrs.CACHE_CONTROL] = "no-store"


def _vary_by_cookie(response: web.StreamResponse) -> None:
    headers = response.headers
    if hdrs.VARY not in headers:
        headers[hdrs.VARY] = hdrs.COOKIE
        return
    known = ", ".join(headers.getall(hdrs.VARY))
    if not {"*", "cookie"} & {field.strip(" \t").lower() for field in known.split(",")}:
        headers[hdrs.VARY] = f"{known}, {hdrs.COOKIE}" if known else hdrs.COOKIE


def _check_kind(option: str, value: object, kind: Any) -> None:  # noqa: ANN401 - a type or several
    if value is not None and not isinstance(value, kind):
        message = f"{option}: must not be of the type {type(value).__name__}"
        raise ConfigError(message)


def _checked_cookie(keyring: Keyring, config: SessionConfig) -> Cookie:
    """Return the cookie, if the longest that these options can make is one that every client takes."""
    cookie = Cookie.from_config(config)
    longest = cookie.write(keyring.sign(longest_token(), config.audience), int(config.absolute_timeout.total_seconds()))
    if len(longest) > MAX_COOKIE_BYTES:
        message = f"cookie_name, audience: the cookie would take {len(longest)} bytes, more than {MAX_COOKIE_BYTES}"
        raise ConfigError(message)
    if config.insecure_cookies:
        log.warning(
            "aiosess: INSECURE COOKIES: %r is sent over plain http and can be read and planted by anybody on the way. "
            "Never do this outside of development on this machine.",
            cookie.name,
        )
    return cookie
