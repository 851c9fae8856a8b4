"""The pool of connections: our own, or the application's."""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

import asyncpg

from aiosess._postgres.doubt import Doubt
from aiosess._postgres.hosts import Hosts, RawConnection
from aiosess._postgres.lanes import Lanes
from aiosess._postgres.outage import LOST, unavailable
from aiosess.config import SessionConfig
from aiosess.errors import ConfigError, StoreUnavailable

log = logging.getLogger("aiosess")

# How long a doubtful connection may take to answer, as a part of the deadline, and in seconds.
DOUBT_SHARE: Final = 0.1
LONGEST_DOUBT: Final = 0.5

Pool = asyncpg.Pool
Connection = asyncpg.pool.PoolConnectionProxy


class Connections:
    """
    Connections to take out and give back.

    Attributes:
        pool: The pool, once there is one.
        are_ours: Whether the pool is our own.
        lanes: Who may ask for a connection.
        doubt: Which connections have to show that they answer before they are handed out.

    """

    def __init__(self, config: SessionConfig) -> None:
        """Have no pool yet."""
        self.pool: Pool | None = None
        self.lanes = Lanes(1)
        self.doubt = Doubt()
        self.are_ours = False
        self._begins_with: str | None = None
        self._deadline = config.store_timeout.total_seconds()
        self._pool_size = config.pool_size
        self._cache_size = config.statement_cache_size
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
        self._take_over(pool, are_ours=False)

    async def connect(self, dsn: str) -> None:
        """
        Make a pool of our own; it connects to the primary when it is first asked.

        Raises:
            ConfigError: the DSN asks for a standby.

        """
        self._hosts = Hosts(dsn)
        connect: Any = self._connect_anew  # takes some of the options that asyncpg's own function names one by one
        pool = await asyncpg.create_pool(
            dsn,
            connect=connect,
            min_size=0,
            max_size=self._pool_size,
            timeout=self._deadline,
            # The default reset is a round trip after every query; no statement of ours leaves anything behind.
            reset=_leave_as_it_is,
            # By default a connection is replaced after 50,000 queries; each one that ends makes us forget what we hold.
            max_queries=2**31,
            statement_cache_size=self._cache_size,
        )
        self._take_over(pool, are_ours=True)

    def _take_over(self, pool: Pool, *, are_ours: bool) -> None:
        self.pool, self.are_ours = pool, are_ours
        self.lanes = Lanes(pool.get_max_size())

    async def _connect_anew(self, dsn: str, **options: Any) -> RawConnection:  # noqa: ANN401 - asyncpg.connect()'s
        try:
            connection = await self._hosts.connect(dsn, **options)
        except ValueError as error:  # its text may hold a part of the password
            raise asyncpg.ClientConfigurationError(type(error).__name__) from None
        if self._begins_with is not None:
            await connection.execute(self._begins_with)
        self.doubt.note_answer(connection.get_server_pid())
        return connection

    async def begin_with(self, statement: str) -> None:
        """Run a statement on each connection that our own pool makes from now on, and replace those of today."""
        self._begins_with = statement
        await self.expire()

    @property
    def has_room(self) -> bool:
        """Whether somebody may keep a connection for a moment, and others still find one."""
        return self.pool is not None and self.pool.get_max_size() > 1

    async def close(self) -> None:
        """Close the pool if it is ours; statements that still run may fail."""
        if self.are_ours and self.pool is not None:
            try:
                async with asyncio.timeout(self._deadline):
                    await self.pool.close()
            except TimeoutError:
                self.pool.terminate()

    async def acquire(self) -> Connection:
        """Take a connection that answers out of the pool; raises ``StoreUnavailable`` or what asyncpg raises."""
        connection = await self._take()
        if self.doubt.is_on(connection.get_server_pid()):
            return await self._one_that_answers(connection)
        return connection

    async def _take(self) -> Connection:
        if self.pool is None:
            raise StoreUnavailable
        try:
            return await self.pool.acquire()
        except (asyncpg.PostgresError, *LOST):
            raise
        except Exception as error:  # an application's pool may call the application: for a password, say
            log.exception("the pool could not make a connection")
            raise unavailable(error) from error

    async def _one_that_answers(self, connection: Connection) -> Connection:
        """Ask a connection for nothing; one that keeps silent goes, with all of today, or alone if it is cancelled."""
        try:
            async with asyncio.timeout(min(LONGEST_DOUBT, self._deadline * DOUBT_SHARE)):
                await connection.execute("select")
        except (TimeoutError, asyncpg.PostgresError, *LOST):
            terminate(connection)
            await self.expire()
            return await self._take()
        except BaseException:
            terminate(connection)
            raise
        return connection

    async def give_back(self, connection: Connection) -> None:
        """Give a connection back to the pool."""
        # The answer is there already: if the connection is lost on its way back, only the pool needs to know.
        # An application's pool resets it with a query; a connection on which that hangs must not stay taken. Half
        # the deadline: asyncpg has to notice before we give up, since it goes on with a release that is cancelled.
        assert self.pool is not None, "it was taken from there"  # noqa: S101 - for the type checker
        with suppress(*LOST):
            await self.pool.release(connection, timeout=self._deadline / 2)

    async def give_back_later(self, connection: Connection) -> None:
        """Give a connection back without waiting for it."""
        task = asyncio.create_task(self.give_back(connection))
        self._given_back.add(task)
        task.add_done_callback(self._given_back.discard)

    async def expire(self) -> None:
        """Replace the connections of today, each when it is taken out next."""
        assert self.pool is not None, "one of its connections was lost"  # noqa: S101 - for the type checker
        await self.pool.expire_connections()


def is_lost(connection: Connection) -> bool:
    """Say whether a connection has ended, as far as this side knows."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool has taken it back
        return True


def terminate(connection: Connection) -> None:
    """End a connection without a word to the server."""
    with suppress(asyncpg.InterfaceError):  # it has ended, and was taken out of the pool's hands
        connection.terminate()


async def _leave_as_it_is(_connection: object) -> None:
    """Do nothing when a connection goes back to the pool."""
