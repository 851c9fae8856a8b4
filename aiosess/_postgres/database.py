"""
PostgreSQL as the rest of the package sees it: ask, and get an answer or ``StoreUnavailable`` within the deadline.

The deadline spans waiting for a connection, connecting, the query and giving the connection back, which asyncpg's own
per-query timeout does not. While the server is known to be down, asking fails at once, and a probe finds out when it is
back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

import asyncpg

from aiosess._postgres.clock import Clock
from aiosess._postgres.outage import CUT, LOST, STALE, Outage, describe, unavailable
from aiosess._signals import Signals
from aiosess.config import SessionConfig
from aiosess.errors import ConfigError, StoreUnavailable

log = logging.getLogger("aiosess")

T = TypeVar("T")
Pool = asyncpg.Pool
Connection = asyncpg.pool.PoolConnectionProxy
Work = Callable[[Connection], Awaitable[T]]


class Database:
    """A pool, ours or the application's, with one deadline, one retry and a memory of being down."""

    def __init__(self, config: SessionConfig, signals: Signals) -> None:
        """Connect to nothing yet."""
        self.clock = Clock()
        self._signals = signals
        self._deadline = config.store_timeout.total_seconds()
        self._pool_size = config.pool_size
        self._pool: Pool | None = None
        self._ours = False
        self.outage = Outage(self._ping)
        self._given_back: set[asyncio.Task[None]] = set()

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
        """End the probe, and the pool if it is ours; statements that still run may fail, and start no probe."""
        await self.outage.close()
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
        if self.outage.is_on:
            raise StoreUnavailable
        asked_at = monotonic()
        try:
            async with asyncio.timeout(self._deadline if within is None else within) as limit:
                answer = await self._attempt_twice(work, limit)
                self.outage.note_answer()
                return answer
        except asyncpg.DataError as error:  # an InterfaceError too, but says nothing about the server
            log.error("aiosess: PostgreSQL cannot take an argument: %s", describe(error))  # noqa: TRY400 - its text repeats argument values
            raise unavailable(error) from None
        except TimeoutError:
            self.outage.probe()
            message = "the session store did not answer in time"
            raise StoreUnavailable(message) from None
        except LOST as error:
            self.outage.begin(error, asked_at)
            raise unavailable(error) from None
        except asyncpg.PostgresError as error:
            log.error("aiosess: PostgreSQL refused a statement: %s", describe(error))  # noqa: TRY400 - its text repeats argument values
            raise unavailable(error) from None

    async def _attempt_twice(self, work: Work[T], limit: asyncio.Timeout) -> T:
        try:
            return await self._attempt(work, limit)
        except asyncpg.DataError:
            raise
        except asyncpg.TransactionRollbackError:  # a deadlock, or an application's stricter isolation
            return await self._attempt(work, limit)
        except LOST as error:
            if isinstance(error, CUT) and self._pool is not None:
                # Others that were made before may be cut too, and not have noticed: the next one has to be new.
                await self._pool.expire_connections()
            return await self._attempt(work, limit)

    async def _attempt(self, work: Work[T], limit: asyncio.Timeout) -> T:
        connection = await self._acquire()
        giving_back = self._give_back(connection)
        try:
            connection.add_termination_listener(self._lost)  # a set: adding it again changes nothing
            try:
                return await work(connection)
            except STALE:
                await connection.execute("discard plans")
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
        except (TimeoutError, *LOST):
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
        except (asyncpg.PostgresError, *LOST):
            raise
        except Exception as error:  # an application's pool may call the application: for a password, say
            log.exception("aiosess: the pool could not make a connection")
            raise unavailable(error) from error

    async def _give_back(self, connection: Connection) -> None:
        # The answer is there already: if the connection is lost on its way back, only the pool needs to know.
        # An application's pool resets it with a query; a connection on which that hangs must not stay taken. Half
        # the deadline: asyncpg has to notice before we give up, since it goes on with a release that is cancelled.
        assert self._pool is not None, "it was taken from there"  # noqa: S101 - for the type checker
        with suppress(*LOST):
            await self._pool.release(connection, timeout=self._deadline / 2)

    async def _give_back_later(self, giving_back: Coroutine[Any, Any, None]) -> None:
        """Go on without waiting: the time is up."""
        task = asyncio.create_task(giving_back)
        self._given_back.add(task)
        task.add_done_callback(self._given_back.discard)

    async def _ping(self, within: float) -> None:
        """Ask whether the server answers and can write; it raises as any statement does."""
        async with asyncio.timeout(within) as limit:
            await self._attempt(_require_primary, limit)

    def _lost(self, _connection: object) -> None:
        self._signals.connection_lost.send()


def is_lost(connection: Connection) -> bool:
    """Say whether a connection has ended, as far as this side knows."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool has taken it back
        return True


def _terminate(connection: Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # it has ended, and was taken out of the pool's hands
        connection.terminate()


async def _require_primary(connection: Connection) -> None:
    # A server that can only read cannot log anybody out: it counts as down, and its connection is given up.
    if await connection.fetchval("select pg_is_in_recovery()"):
        message = "in recovery"
        raise asyncpg.ReadOnlySQLTransactionError(message)


async def _leave_as_it_is(_connection: object) -> None:
    """Do nothing when a connection goes back to the pool."""
