"""Whether PostgreSQL counts as down, and the probe that finds out when it answers again."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, Final

import asyncpg

from aiosess._postgres.reasons import reason_of
from aiosess.errors import StoreUnavailable

log = logging.getLogger("aiosess")

PROBE_EVERY: Final = 0.25  # seconds between two probes of a server that refuses
# Seconds until a probe without an answer begins an outage, so that requests fail fast. The probe itself goes on, for
# connecting may take longer; another one starts beside it, for the network may have forgotten the first.
PROBE_PATIENCE: Final = 1.0

# The connection has planned a statement, or an expression in a function, for a column that has another type now.
STALE = (asyncpg.InvalidCachedStatementError, asyncpg.DatatypeMismatchError)
# The connection was cut.
CUT = (
    ConnectionError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
# The connection is gone or was never made. InterfaceError is no PostgresError: asyncpg raises it for "connection is
# closed" and for a pool that is closing.
LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
)


class Outage:
    """
    Whether PostgreSQL is down; while it is, a probe finds out when it answers again.

    Attributes:
        is_on: Whether it is down: asking fails at once.

    """

    def __init__(self, ping: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Probe by ``ping()``, which raises when the server does not answer before its own deadline."""
        self.is_on = False
        self._answered_at = -inf  # by the monotonic clock
        self._was_cut = False  # rather than refused
        self._ping = ping
        self._is_probing = False
        self._probing: asyncio.Task[None] | None = None
        self._closed = False

    def note_answer(self) -> None:
        """Note that PostgreSQL has answered a question: it is up, unless it refuses what a standby would refuse."""
        self._answered_at = monotonic()
        if self.is_on and self._was_cut:
            self._end()

    def begin(self, error: BaseException, asked_at: float) -> None:
        """Note that PostgreSQL is down, because of this error, unless it has answered a later question meanwhile."""
        self._note_failure(error, asked_at)
        self.probe()

    def probe(self) -> None:
        """Find out whether the server answers, unless a probe runs already; one slow statement is no outage."""
        if not self._closed and not self._is_probing:
            self._is_probing = True  # before there is a task: under an eager factory it runs at once
            self._probing = asyncio.create_task(self._probe_until_up())

    async def close(self) -> None:
        """End the probe; none starts any more."""
        self._closed = True
        if self._probing is not None:
            self._probing.cancel()
            with suppress(asyncio.CancelledError):
                await self._probing

    def _note_failure(self, error: BaseException, asked_at: float) -> None:
        if not self.is_on and self._answered_at < asked_at:
            self.is_on, self._was_cut = True, isinstance(error, (TimeoutError, *CUT))
            log.error("PostgreSQL %s (%s): sessions are unknown until it serves", _trouble(error), describe(error))

    async def _probe_until_up(self) -> None:
        pings: dict[asyncio.Task[None], float] = {}
        try:
            while not await self._is_answered(pings):
                pass
        finally:
            for ping in pings:
                ping.cancel()
            await asyncio.gather(*pings, return_exceptions=True)
            self._is_probing = False
        self._end()

    async def _is_answered(self, pings: dict[asyncio.Task[None], float]) -> bool:
        """Ask once more, beside those questions that still wait, and say whether any of them was answered."""
        asked_at = monotonic()
        pings[asyncio.create_task(self._ping())] = asked_at
        done, _ = await asyncio.wait(pings, timeout=PROBE_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            self._note_failure(TimeoutError(), asked_at)
        for ping in done:
            asked_at, error = pings.pop(ping), ping.exception()
            if error is None:
                return True
            self._note_failure(error, asked_at)
        if done:
            await asyncio.sleep(PROBE_EVERY)
        return False

    def _end(self) -> None:
        if self.is_on:
            self.is_on = False
            log.warning("PostgreSQL answers again")


def describe(error: BaseException) -> str:
    """Name an error without its text, which may repeat what was asked for; and the mistake behind it, if it is one."""
    state, reason = getattr(error, "sqlstate", None), reason_of(error)
    name = f"{type(error).__name__} {state}" if state else type(error).__name__
    return f"{name}: {reason}" if reason else name


def unavailable(error: BaseException) -> StoreUnavailable:
    """Return the error that an application sees."""
    return StoreUnavailable(reason_of(error) or f"the session store {_trouble(error)} ({describe(error)})")


def _trouble(error: BaseException) -> str:
    """Tell a server that is silent or gone from one that has answered with an error."""
    return "answered with an error" if isinstance(error, asyncpg.PostgresError) else "does not answer"
