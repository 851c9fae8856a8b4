"""One installation in an application: its parts, its start and its end."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from importlib.metadata import distributions
from typing import Any, Final

from aiohttp import web

from aiosess._check.checker import Checker
from aiosess._client.device import warm_up
from aiosess._event_hook import EventHook
from aiosess._event_log import log_events
from aiosess._log_limit import LogLimit
from aiosess._postgres import schema
from aiosess._postgres.connections import Pool
from aiosess._postgres.database import Database
from aiosess._postgres.endings import Endings
from aiosess._postgres.login import Logins
from aiosess._postgres.rows import Rows
from aiosess._postgres.statements import Statements
from aiosess._postgres.upkeep import Upkeep, repeat
from aiosess._signals import Signals
from aiosess._token.cookie import Cookie
from aiosess._token.keys import Keyring
from aiosess._token.token import longest_token
from aiosess._web.admission import Admission
from aiosess._web.handlers import treatments
from aiosess._web.keys import STORE
from aiosess._web.manager import Collaborators
from aiosess._web.middleware import RequestHooks
from aiosess._web.open_connections import ASK_EVERY, OpenConnections
from aiosess._web.successor import Successors
from aiosess._web.transport import CookieTransport
from aiosess.config import SessionConfig
from aiosess.errors import ConfigError, SchemaMismatch, StoreUnavailable
from aiosess.store import SessionStore

log = logging.getLogger("aiosess")

Source = str | Pool | web.AppKey[Any]

MAX_COOKIE_BYTES: Final = 512
CONNECT_AGAIN_EVERY: Final = 1.0  # seconds
MINUTE: Final = 60.0  # seconds
CLOCKS_DIFFER_BY: Final = timedelta(minutes=1)
COOKIES_ON_DISK_WITHIN: Final = timedelta(seconds=35)  # Chromium writes them 30 s after a change

_COOKIE_NAME: Final = web.AppKey("aiosess_cookie_name", str)


class Installation:
    """The parts that live from the application's start-up to its shutdown."""

    def __init__(self, app: web.Application, keyring: Keyring, config: SessionConfig, source: Source) -> None:
        """Put the parts together and hook them in; nothing connects before start-up."""
        self._source = source
        self._config = config
        self._cookie = cookie = _checked_cookie(keyring, config)
        _warn_of_risks(cookie, config)
        self.signals = signals = Signals()
        self.log_limit = limit = LogLimit()
        log_events(signals, limit)
        self._event_hook = EventHook(config.on_event, signals, limit)
        self.database = database = Database(config, signals)
        clock, statements = database.clock, Statements(database, config.schema)
        self.rows = rows = Rows(statements, signals, config)
        self.endings = endings = Endings(statements, signals, config)
        self.upkeep = upkeep = Upkeep(rows, endings, config)
        self.open_connections = OpenConnections(rows, signals, clock, config)
        self.checker = checker = Checker(rows, database, signals, config)
        admission = Admission(
            checker=checker, rows=rows, endings=endings, upkeep=upkeep, signals=signals, clock=clock, config=config
        )
        self.logins = logins = Logins(database, statements, signals, config)
        transport = CookieTransport(cookie, keyring, signals, clock, config, limit)
        store = SessionStore(statements, endings)
        collaborators = Collaborators(
            admission=admission,
            transport=transport,
            open_connections=self.open_connections,
            store=store,
            rows=rows,
            logins=logins,
            endings=endings,
            clock=clock,
            form_keys=keyring.form_keys,
            config=config,
        )
        successors = Successors(rows, transport, clock, config)
        self._hooks = RequestHooks(transport, admission, successors, collaborators, config)
        self._clocks_differ = False
        self._hook_into(app, store)

    def _hook_into(self, app: web.Application, store: SessionStore) -> None:
        app[STORE] = store
        app[_COOKIE_NAME] = self._config.cookie_name
        app.middlewares.insert(0, self._hooks.middleware)
        app.on_response_prepare.append(self._hooks.on_response_prepare)
        app.on_shutdown.append(self.open_connections.stop)
        app.cleanup_ctx.append(self._run)

    async def _run(self, app: web.Application) -> AsyncIterator[None]:
        _check_below(app, self._config.cookie_name)
        self._hooks.treatments.update(treatments(app))
        await self._open(app)
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._prepare()
        except StoreUnavailable as error:
            log.error("%s; sessions are unavailable until then; trying again every second", error)  # noqa: TRY400 - a traceback says no more
            tasks.append(asyncio.create_task(self._prepare_later()))
        except BaseException:
            # aiohttp does not clean up what did not start.
            await self.database.close()
            raise
        self._watch_clocks()
        tasks.append(asyncio.create_task(self.upkeep.run()))
        tasks.append(asyncio.create_task(repeat(self.open_connections.ask, ASK_EVERY)))
        tasks.append(asyncio.create_task(repeat(self._start_minute, MINUTE)))
        tasks.append(asyncio.create_task(asyncio.to_thread(warm_up)))
        log.info("aiosess %s: %s", _own_version(), _settings(self._cookie, self._config))
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.upkeep.flush()
        await self._event_hook.drain()
        self.log_limit.start_minute()  # what was counted since
        await self.database.close()

    async def _start_minute(self) -> None:
        self.log_limit.start_minute()
        self._watch_clocks()

    def _watch_clocks(self) -> None:
        """Say when this machine's clock and the database's begin to differ, and when they agree again."""
        lead = self.database.clock.lead()
        if lead is None or (abs(lead) > CLOCKS_DIFFER_BY) is self._clocks_differ:
            return
        self._clocks_differ = not self._clocks_differ
        if self._clocks_differ:
            log.warning(
                "this machine's clock is %.0f s %s the database's; sessions go by the database's, but one of "
                "the two is wrong",
                abs(lead.total_seconds()),
                "ahead of" if lead > timedelta(0) else "behind",
            )
        else:
            log.warning("this machine's clock and the database's agree again")

    async def _open(self, app: web.Application) -> None:
        source = self._source
        if isinstance(source, str):
            await self.database.connect(source)
        else:
            self.database.use(app.get(source) if isinstance(source, web.AppKey) else source)

    async def _prepare(self) -> None:
        config = self._config
        await schema.prepare(self.database, config.schema, migrate=config.migrate, audience=config.audience)

    async def _prepare_later(self) -> None:
        """Go on trying when the server was down at start-up; a wrong schema may still be put right by a DBA."""
        while not await self._is_prepared():  # noqa: ASYNC110 - a server that is down sends no events
            await asyncio.sleep(CONNECT_AGAIN_EVERY)

    async def _is_prepared(self) -> bool:
        try:
            await self._prepare()
        except StoreUnavailable:
            return False
        except (SchemaMismatch, ConfigError) as error:
            log.critical("%s; sessions are unavailable until then", error)
            return False
        log.warning("PostgreSQL answers; sessions are available")
        return True


def _check_below(app: web.Application, cookie_name: str) -> None:
    """Refuse a sub-application with the same cookie: a sign-in in one would be the sign-out of the other."""
    for below in app._subapps:  # noqa: SLF001 - aiohttp has no public way down
        if below.get(_COOKIE_NAME) == cookie_name:
            message = (
                f"cookie_name: a sub-application has the cookie {cookie_name!r} as well; call aiosess.setup() for the "
                "upper application only, or give one of them another cookie_name"
            )
            raise ConfigError(message)
        _check_below(below, cookie_name)


def _own_version() -> str:
    # A copy that was not installed has none.
    return next((found.version for found in distributions(name="aiosess")), "of no release")


def _settings(cookie: Cookie, config: SessionConfig) -> str:
    """Say in a line how the installation is set up: neither the secret nor the DSN, which may hold a password."""
    proxies = ", ".join(map(str, config.trusted_networks)) or "none"
    return (
        f"tables of version {schema.VERSION} in the schema {config.schema}, cookie {cookie.name}, "
        f"audience {config.audience}, trusted proxies {proxies}"
    )


def _checked_cookie(keyring: Keyring, config: SessionConfig) -> Cookie:
    """Return the cookie, if the longest that these options can make is one that every client takes."""
    cookie = Cookie.from_config(config)
    longest = cookie.write(keyring.sign(longest_token(), config.audience), int(config.absolute_timeout.total_seconds()))
    if len(longest) > MAX_COOKIE_BYTES:
        message = f"cookie_name, audience: the cookie would take {len(longest)} bytes, more than {MAX_COOKIE_BYTES}"
        raise ConfigError(message)
    return cookie


def _warn_of_risks(cookie: Cookie, config: SessionConfig) -> None:
    if config.insecure_cookies:
        log.warning(
            "INSECURE COOKIES: %r is sent over plain http and can be read and planted by anybody on the way. "
            "Never do this outside of development on this machine.",
            cookie.name,
        )
    if config.rotation_overlap < COOKIES_ON_DISK_WITHIN:
        log.warning(
            "rotation_overlap is %g s. Chromium writes cookies to the disk 30 s after a change: below %g s, a "
            "browser that is killed may be taken for a thief. Do this in tests and demos only.",
            config.rotation_overlap.total_seconds(),
            COOKIES_ON_DISK_WITHIN.total_seconds(),
        )
