"""
Whether a token's session is live: asked of PostgreSQL for every request, in one query for many.

The checker holds rows that it has read before and asks one question for all requests that wait at that moment: "of
these (id, revision) pairs, which are not what I have?" Nothing comes back for the rows that have not changed, so a
thousand unchanged sessions cost one small query. A request never joins a batch that was already sent, so it always sees
a revocation that was acknowledged before the request arrived: the check is linearizable (Herlihy and Wing, 1990), on
every process, with no cache to invalidate.
"""

import asyncio
from collections.abc import Awaitable
from hmac import compare_digest
from time import monotonic
from typing import Final
from uuid import UUID

from aiosess._check.batch import Batch, OpenBatch
from aiosess._check.batch_future import BatchFuture
from aiosess._check.flight import Flights
from aiosess._check.held import Held, Known
from aiosess._postgres.database import Database
from aiosess._postgres.rows import Rows
from aiosess._row import Row
from aiosess._signals import Signals
from aiosess._token.token import Token
from aiosess.config import SessionConfig

# One batch at a time makes the largest batches. One that is slow (a lost packet, a stall) is not waited for.
SLOW_AFTER: Final = 0.02  # seconds
MAX_IN_FLIGHT: Final = 4


class Checker:
    """
    Answers ``check(token)`` with the session's row as it was after the call, or None.

    The end of a session is final: it is remembered, and costs no more queries.
    """

    def __init__(self, rows: Rows, database: Database, signals: Signals, config: SessionConfig) -> None:
        """Hold nothing yet."""
        self._max_staleness = config.max_staleness.total_seconds()
        self._held = Held(config.max_held_sessions, signals)
        self._open_batch = OpenBatch()
        self._flights = Flights(self._open_batch, self._held, rows, database, config)
        self._in_flight: set[asyncio.Task[None]] = set()

    def check(self, token: Token) -> Awaitable[Row | None]:
        """
        Return, to be awaited, the live session's row, or None if it has ended.

        Raises:
            StoreUnavailable: PostgreSQL does not answer; it is unknown.

        """
        known = self._held.get(token.session_id.int)
        row = None
        if known is not None:
            row = known.row
            if row is None or (self._max_staleness and self._believes(known, row, token)):
                return _answered(row)
        batch = self._open_batch.batch or self._open()
        waiter = BatchFuture(loop=batch.loop)
        waiter.callback = None
        # The id that PostgreSQL gave is of asyncpg's own type, whose text is made ten times as fast.
        batch.ids.append(token.session_id if row is None else row.id)
        batch.rows.append(row)
        batch.waiters.append(waiter)
        return waiter

    def forget(self, session_id: UUID) -> None:
        """Read the row anew at the next check."""
        self._held.forget(session_id)

    def _believes(self, known: Known, row: Row, token: Token) -> bool:
        """Say whether a held row is recent enough to go by; never for an unknown secret, which may be newer."""
        is_recent = monotonic() - known.asked_at < self._max_staleness
        return is_recent and compare_digest(row.secret_hash, token.secret_hash)

    def _open(self) -> Batch:
        """Start a batch. It goes out when the requests that are being handled at this moment have joined it."""
        loop = asyncio.get_running_loop()
        batch = self._open_batch.batch = Batch(self._held.epoch, loop)
        if not self._in_flight or self._open_batch.is_awaited:
            loop.call_soon(self._send)
        elif len(self._in_flight) < MAX_IN_FLIGHT:
            self._open_batch.hurry(loop.call_later(SLOW_AFTER, self._send))
        return batch

    def _send(self) -> None:
        """Send the batch that waits, if one does: by a flight that lingers, or on a connection of its own."""
        if self._open_batch.is_awaited:
            self._open_batch.wake()
            return
        batch = self._open_batch.close()
        if batch is not None:
            task = asyncio.get_running_loop().create_task(self._flights.fly(batch))
            self._in_flight.add(task)
            task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._send()


def _answered(row: Row | None) -> asyncio.Future[Row | None]:
    answer: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
    answer.set_result(row)
    return answer
