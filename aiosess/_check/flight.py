"""Batches that one connection is asked about, one after the other."""

import asyncio
from time import monotonic
from typing import Final

from aiosess._check.batch import Batch, OpenBatch
from aiosess._check.held import Held
from aiosess._postgres.connections import Connection, is_lost
from aiosess._postgres.database import Database
from aiosess._postgres.rows import Rows
from aiosess.config import SessionConfig
from aiosess.errors import StoreUnavailable

# Batches that follow one another closely share a connection: taking one out of a pool and giving it back costs as much
# as a query. After so long it goes back all the same, for writes wait in line for the pool too.
KEEP_CONNECTION: Final = 0.1  # seconds
# Under load the next batch is there within this time. A pool of one connection gets it back at once.
LINGER: Final = 0.005  # seconds


class Flights:
    """Asks PostgreSQL about batches, and answers every request in them whatever happens."""

    def __init__(
        self, open_batch: OpenBatch, held: Held, rows: Rows, database: Database, config: SessionConfig
    ) -> None:
        """Take the next batches from ``open_batch``, and let ``held`` take over what has changed."""
        self._open_batch = open_batch
        self._held = held
        self._rows = rows
        self._database = database
        self._deadline = config.store_timeout.total_seconds()
        self._notes_time = bool(config.max_staleness)

    async def fly(self, batch: Batch) -> None:
        """Ask about a batch and about those that follow it closely, on one connection while it lasts."""
        # The deadline of the first batch is that of the flight: half of it is left for the last one.
        until = monotonic() + min(KEEP_CONNECTION, self._deadline / 2)
        left: Batch | None = batch
        while left is not None:
            flight = _Flight(self, left, until)
            try:
                await self._database.run(flight.run, left.opened_at + self._deadline - monotonic())
            except StoreUnavailable as error:
                flight.fail(error)
                return
            except BaseException:
                flight.fail(StoreUnavailable())
                raise
            left = flight.left

    async def ask(self, connection: Connection, batch: Batch) -> None:
        """Ask about one batch, and answer everybody in it."""
        changed = await self._rows.changed_on(connection, batch.ids, batch.revisions(self._held.epoch))
        if changed:
            self._held.take_over(changed, batch.epoch)
        if self._notes_time:
            self._held.note_asked(batch.ids, batch.asked_at)
        batch.answer(changed)

    async def next_batch(self) -> Batch | None:
        """Close the batch that waits; if none does, wait a little where others still find a connection."""
        if not self._database.connections.has_room:
            return self._open_batch.close()
        return await self._open_batch.wait_and_close(LINGER)


class _Flight:
    """
    One connection's batches.

    Attributes:
        left: The batch that has no answer yet.

    """

    __slots__ = ("_flights", "_is_first", "_until", "left")

    def __init__(self, flights: Flights, batch: Batch, until: float) -> None:
        self._flights = flights
        self._until = until
        self._is_first = True
        self.left: Batch | None = batch

    async def run(self, connection: Connection) -> None:
        """
        Ask about batch after batch; called again when the connection was lost, ask about the one without an answer.

        Every batch has a second try of its own: after a second call no other batch follows, nor does one on a
        connection that was lost while nothing was asked. Then ``left`` is for another flight.
        """
        is_first, self._is_first = self._is_first, False
        while self.left is not None and not is_lost(connection):
            await self._flights.ask(connection, self.left)
            self.left = None
            # Two turns of the loop for the requests that were answered: what they ask next joins the next batch.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if is_first and monotonic() < self._until:
                self.left = await self._flights.next_batch()

    def fail(self, error: StoreUnavailable) -> None:
        """Tell those that have no answer that there is none."""
        if self.left is not None:
            self.left.fail(error)
