"""
PostgreSQL as the rest of the house sees it: ask, and get an answer or ``StoreUnavailable`` within the deadline.

The deadline spans waiting for a connection, connecting, the query and giving the connection back, which asyncpg's own
per-query timeout does not. While the server is known to be down, asking fails at once, and a probe finds out when it is
back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib import resources
from time import monotonic
from typing import Any, TypeVar

import asyncpg

from aiosess.config import SessionConfig
from aiosess.errors import ConfigError, StoreUnavailable

log = logging.getLogger("aiosess")

T = TypeVar("T")
Pool = asyncpg.Pool
Connection = asyncpg.pool.PoolConnectionProxy
Work = Callable[[Connection], Awaitable[T]]

CLOCK_TICK = 0.005  # seconds
PROBE_EVERY = 0.25  # seconds between two probes of a server that is down
PROBE_TIMEOUT = 1.0  # seconds until a probe counts as failed

# The connection is gone or was never made. InterfaceError is no PostgresError: asyncpg raises it for "connection is
# closed" and for a pool that is closing.
_LOST = (
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


class Clock:
    """The database's clock, known from its answers and carried on by the monotonic one."""

    __slots__ = ("_known", "_known_at", "_tick", "_tick_at")

    def __init__(self) -> None:
        """Start from this machine's clock, until an answer says better."""
        self.learn(datetime.now(UTC))

    def learn(self, instant: datetime) -> None:
        """Take over an instant that the database has just told."""
        self._known = self._tick = instant
        self._known_at = self._tick_at = monotonic()

    def now(self) -> datetime:
        """Return the database's time; late by the time that its last answer travelled, and at most 5 ms more."""
        at = monotonic()
        if at - self._tick_at > CLOCK_TICK:  # making a datetime takes longer than the rest of judging a token
            self._tick, self._tick_at = self._known + timedelta(seconds=at - self._known_at), at
        return self._tick


class Database:
    """A pool, ours or the application's, with one deadline, one retry and a memory of being down."""

    def __init__(self, config: SessionConfig) -> None:
        """Connect to nothing yet."""
        self.clock = Clock()
        self._deadline = config.store_timeout.total_seconds()
        self._pool_size = config.pool_size
        self._pool: Pool | None = None
        self._ours = False
        self._down = False
        self._prober: asyncio.Task[None] | None = None
        self._closed = False
        self._given_back: set[asyncio.Task[None]] = set()
        self._lost_listeners: list[Callable[[], None]] = []

    def on_lost(self, listener: Callable[[], None]) -> None:
        """Call the listener whenever a connection ends: what answers next may be another server."""
        self._lost_listeners.append(listener)

    def use(self, pool: object) -> None:
        """
        Use the application's pool, which is never closed here.

        Raises:
            ConfigError: it is no pool.

        """
        if not isinstance(pool, Pool):
            message = "pool: the application holds no asyncpg.Pool under this key when it starts"
            raise ConfigError(message)
        self._pool, self._ours = pool, False

    async def connect(self, dsn: str) -> None:
        """Make a pool of our own; it connects when it is first asked."""
        self._pool = await asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=self._pool_size,
            timeout=self._deadline,
            # The default reset is a round trip after every query; no statement of ours leaves anything behind.
            reset=_leave_as_it_is,
            # By default a connection is replaced after 50,000 queries; each one that ends makes us forget what we hold.
            max_queries=2**31,
        )
        self._ours = True

    @property
    def has_room(self) -> bool:
        """Whether somebody may keep a connection for a moment, and others still find one."""
        return self._pool is not None and self._pool.get_max_size() > 1

    async def close(self) -> None:
        """End the probe, and the pool if it is ours; what is still under way may fail, and nobody probes for it."""
        self._closed = True
        if self._prober is not None:
            self._prober.cancel()
            with suppress(asyncio.CancelledError):
                await self._prober
        if self._ours and self._pool is not None:
            try:
                async with asyncio.timeout(self._deadline):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        """Return the records of one statement."""
        return await self.run(lambda connection: connection.fetch(query, *arguments))

    async def run(self, work: Work[T], within: float | None = None) -> T:
        """
        Do something with a connection, once more if the connection was lost, all within the deadline (seconds).

        Every statement of aiosess may be repeated: it compares-and-sets, or carries the id of what it makes.

        Raises:
            StoreUnavailable: no answer, an error of the server, or not in time.

        """
        if self._down:
            raise StoreUnavailable
        try:
            async with asyncio.timeout(self._deadline if within is None else within) as limit:
                try:
                    return await self._attempt(work, limit)
                except asyncpg.DataError:
                    raise
                except (asyncpg.TransactionRollbackError, *_LOST):  # a deadlock, or an application's stricter isolation
                    return await self._attempt(work, limit)
        except asyncpg.DataError as error:  # an InterfaceError too, but says nothing about the server
            log.error("aiosess: PostgreSQL cannot take an argument: %s", _describe(error))  # noqa: TRY400 - its text repeats argument values
            raise _unavailable(error) from None
        except TimeoutError:
            self._probe()
            message = "the session store did not answer in time"
            raise StoreUnavailable(message) from None
        except _LOST as error:
            self._fall(error)
            raise _unavailable(error) from None
        except asyncpg.PostgresError as error:
            log.error("aiosess: PostgreSQL refused a statement: %s", _describe(error))  # noqa: TRY400 - its text repeats argument values
            raise _unavailable(error) from None

    async def _attempt(self, work: Work[T], limit: asyncio.Timeout) -> T:
        connection = await self._acquire()
        giving_back = self._give_back(connection)
        try:
            connection.add_termination_listener(self._lost)  # a set: adding it again changes nothing
            return await work(connection)
        except asyncpg.DataError:
            raise  # it was never sent: the connection is as good as before
        except asyncio.CancelledError:
            if limit.expired():
                # A backend that waits for a lock doesn't notice when its client goes: the statement would be carried
                # out later, and nobody be told. Giving the connection back has the server cancel it.
                giving_back = self._give_back_later(giving_back)
            else:
                _terminate(connection)
            raise
        except (TimeoutError, *_LOST):
            # On a server that may hang or be read-only a new connection is surer than a mended one.
            _terminate(connection)
            raise
        finally:
            await giving_back

    async def _acquire(self) -> Connection:
        if self._pool is None:
            raise StoreUnavailable
        try:
            return await self._pool.acquire()
        except (asyncpg.PostgresError, *_LOST):
            raise
        except Exception as error:  # an application's pool may call the application: for a password, say
            log.exception("aiosess: the pool could not make a connection")
            raise _unavailable(error) from error

    async def _give_back(self, connection: Connection) -> None:
        # What was answered was answered: a connection that is lost on its way back is the pool's affair.
        # An application's pool resets it with a query; a connection on which that hangs must not stay taken. Half
        # the deadline: asyncpg has to notice before we give up, since it goes on with a release that is cancelled.
        assert self._pool is not None, "it was taken from there"  # noqa: S101 - for the type checker
        with suppress(*_LOST):
            await self._pool.release(connection, timeout=self._deadline / 2)

    async def _give_back_later(self, giving_back: Coroutine[Any, Any, None]) -> None:
        """Go on without waiting: the time is up."""
        task = asyncio.create_task(giving_back)
        self._given_back.add(task)
        task.add_done_callback(self._given_back.discard)

    def _lost(self, _connection: object) -> None:
        for listener in self._lost_listeners:
            listener()

    def _fall(self, error: BaseException) -> None:
        if not self._down:
            self._down = True
            log.error("aiosess: PostgreSQL does not answer (%s): sessions are unknown until it does", _describe(error))
        self._probe()

    def _probe(self) -> None:
        """Find out whether the server answers, unless somebody is at it; one slow statement is no outage."""
        if not self._closed and (self._prober is None or self._prober.done()):
            self._prober = asyncio.create_task(self._probe_until_up())

    async def _probe_until_up(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PROBE_TIMEOUT) as limit:
                    await self._attempt(_ping, limit)
            except (TimeoutError, StoreUnavailable, asyncpg.PostgresError, *_LOST) as error:
                self._fall(error)
                await asyncio.sleep(PROBE_EVERY)
            else:
                break
        if self._down:
            self._down = False
            log.warning("aiosess: PostgreSQL answers again")


def _terminate(connection: Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # it has ended, and was taken out of the pool's hands
        connection.terminate()


async def _ping(connection: Connection) -> None:
    # A server that can only read cannot log anybody out: it counts as down, and its connection is given up.
    if await connection.fetchval("select pg_is_in_recovery()"):
        message = "in recovery"
        raise asyncpg.ReadOnlySQLTransactionError(message)


async def _leave_as_it_is(_connection: object) -> None:
    """Do nothing when a connection goes back to the pool."""


def _describe(error: BaseException) -> str:
    """Name an error without its text, which may repeat what was asked for."""
    state = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} {state}" if state else type(error).__name__


def _unavailable(error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"the session store does not answer ({_describe(error)})")


def read_sql(path: str, schema: str) -> str:
    """Return an .sql file of this package, its names qualified (a hostile search_path changes nothing)."""
    text = resources.files("aiosess._postgres").joinpath(path).read_text(encoding="utf-8")
    return text.replace("{schema}", f'"{schema}"')
