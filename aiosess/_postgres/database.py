"""
PostgreSQL as the rest of the package sees it: ask, and get an answer or ``StoreUnavailable`` within the deadline.

The deadline spans waiting for a connection, connecting, the query and giving the connection back, which asyncpg's own
per-query timeout does not. While the server is known to be down, asking fails at once, and a probe finds out when it is
back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Any, TypeVar

import asyncpg

from aiosess._postgres.clock import Clock
from aiosess._postgres.connections import Connection, Connections, terminate
from aiosess._postgres.outage import CUT, LOST, STALE, Outage, describe, unavailable
from aiosess._postgres.primary import refuse_standby, require_primary
from aiosess._signals import Signals
from aiosess.config import SessionConfig
from aiosess.errors import StoreUnavailable

log = logging.getLogger("aiosess")

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]


class Database:
    """PostgreSQL behind a pool, with one deadline, one retry and a memory of being down."""

    def __init__(self, config: SessionConfig, signals: Signals) -> None:
        """Connect to nothing yet."""
        self.clock = Clock()
        self._signals = signals
        self._deadline = config.store_timeout.total_seconds()
        self.connections = Connections(config)
        self.outage = Outage(self._ping)

    def use(self, pool: object) -> None:
        """
        Use the application's pool, which is never closed here.

        Raises:
            ConfigError: it is no pool.

        """
        self.connections.use(pool)

    async def connect(self, dsn: str) -> None:
        """Make a pool of our own; it connects when it is first asked."""
        await self.connections.connect(dsn)

    async def close(self) -> None:
        """End the probe, and the pool if it is ours; statements that still run may fail, and start no probe."""
        await self.outage.close()
        await self.connections.close()

    async def fetch(
        self, query: str, *arguments: object, once: bool = False, writes: Hashable | None = None
    ) -> list[Any]:
        """Return the records of one statement; ``once`` and ``writes`` as in ``run()``."""
        records = await self.run(lambda connection: connection.fetch(query, *arguments), once=once, writes=writes)
        self.outage.note_answer()
        return records

    async def run(
        self, work: Work[T], within: float | None = None, *, once: bool = False, writes: Hashable | None = None
    ) -> T:
        """
        Do something with a connection, once more if the connection was lost, all within the deadline (seconds).

        A statement may be repeated if it compares-and-sets, or carries the id of what it makes. ``once`` is for the
        others: if a connection is lost after such a statement was begun, it is unknown whether PostgreSQL has run it.
        ``writes`` names the row that is written (the id of a session or of a user, or the statement if there are many);
        reads go without, and find a connection even when writes hang.

        Raises:
            StoreUnavailable: no answer, an error of the server, or not in time.

        """
        if self.outage.is_on:
            raise StoreUnavailable
        asked_at, waits = monotonic(), writes is not None
        try:
            async with asyncio.timeout(self._deadline if within is None else within) as limit:
                if writes is None:
                    return await self._attempt_twice(work, limit, once=once)
                async with self.connections.lanes.enter(writes):
                    waits = False
                    return await self._attempt_twice(work, limit, once=once)
        except asyncpg.DataError as error:  # an InterfaceError too, but says nothing about the server
            log.error("PostgreSQL cannot take an argument: %s", describe(error))  # noqa: TRY400 - its text repeats argument values
            raise unavailable(error) from None
        except TimeoutError:
            if not waits:  # else other writes hang, and PostgreSQL was not asked
                self.connections.doubt.note_silence()
                self.outage.probe()
            message = "the session store did not answer in time"
            raise StoreUnavailable(message) from None
        except LOST as error:
            self.outage.begin(error, asked_at)
            raise unavailable(error) from None
        except asyncpg.PostgresError as error:
            log.error("PostgreSQL refused a statement: %s", describe(error))  # noqa: TRY400 - its text repeats argument values
            raise unavailable(error) from None

    async def _attempt_twice(self, work: Work[T], limit: asyncio.Timeout, *, once: bool) -> T:
        is_begun = False

        async def begin(connection: Connection) -> T:
            nonlocal is_begun
            is_begun = True
            return await work(connection)

        try:
            return await self._attempt(begin if once else work, limit)
        except asyncpg.DataError:
            raise
        except asyncpg.TransactionRollbackError:  # a deadlock, or an application's stricter isolation
            return await self._attempt(work, limit)
        except LOST as error:
            if isinstance(error, CUT):
                # Others that were made before may be cut too, and not have noticed: the next one has to be new.
                await self.connections.expire()
            if is_begun:
                raise
            return await self._attempt(work, limit)

    async def _attempt(self, work: Work[T], limit: asyncio.Timeout) -> T:
        connection = await self.connections.acquire()
        pid = connection.get_server_pid()
        give_back: Callable[[Connection], Awaitable[None]] = self.connections.give_back
        try:
            connection.add_termination_listener(self._lost)  # a set: adding it again changes nothing
            await refuse_standby(connection)
            try:
                done = await work(connection)
            except STALE:
                await connection.execute("discard plans")
                done = await work(connection)
            self.connections.doubt.note_answer(pid)
        except asyncpg.DataError:
            raise  # it was never sent: the connection is as good as before
        except asyncio.CancelledError:
            if limit.expired():
                # A backend that waits for a lock doesn't notice when its client goes: the statement would be carried
                # out later, and nobody be told. Giving the connection back has the server cancel it.
                give_back = self.connections.give_back_later
            else:
                terminate(connection)
            raise
        except (TimeoutError, *LOST):
            # On a server that may hang or be read-only a new connection is surer than a mended one.
            terminate(connection)
            raise
        else:
            return done
        finally:
            await give_back(connection)

    async def _ping(self) -> None:
        """Ask whether the server answers and can write; it raises as any statement does."""
        async with asyncio.timeout(self._deadline) as limit:
            await self._attempt(require_primary, limit)

    def _lost(self, _connection: object) -> None:
        self._signals.connection_lost.send()
