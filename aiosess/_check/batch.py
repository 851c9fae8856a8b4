"""The requests that are asked about together, and the moment from which nobody joins them any more."""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final
from uuid import UUID

from aiosess._check.batch_future import BatchFuture, wake_all
from aiosess._postgres.statements import UnreadableRow
from aiosess._row import Row
from aiosess.errors import StoreUnavailable

NOT_HELD: Final = -1  # no row has this revision


class Batch:
    """One question for many requests: for each its session's id, and the row that is held of it."""

    __slots__ = ("asked_at", "epoch", "ids", "loop", "opened_at", "rows", "waiters")

    def __init__(self, epoch: int, loop: asyncio.AbstractEventLoop) -> None:
        """Start without requests; the rows that join were held in this epoch."""
        self.ids: list[UUID] = []
        self.rows: list[Row | None] = []
        self.waiters: list[BatchFuture] = []
        self.loop = loop
        self.opened_at = monotonic()
        self.asked_at = 0.0
        self.epoch = epoch

    def revisions(self, epoch: int) -> list[int]:
        """Return the revisions to ask about; if a connection was lost since the batch began, none: whole rows come."""
        if self.epoch != epoch:
            self.rows = [None] * len(self.rows)
        self.epoch, self.asked_at = epoch, monotonic()
        return [NOT_HELD if row is None else row.revision for row in self.rows]

    def answer(self, changed: Mapping[UUID, Row | UnreadableRow | None]) -> None:
        """Give each request that still waits its row: the one that was read, or else the one that was held."""
        rows: list[Any] = self.rows
        if changed:
            rows = [changed.get(session_id, row) for session_id, row in zip(self.ids, rows, strict=True)]
            self._fail_unreadable(rows)
        for waiter, row in zip(self.waiters, rows, strict=True):
            if not waiter.done():
                waiter.set_result(row)
        self.loop.call_soon(wake_all, self.waiters)

    def _fail_unreadable(self, rows: list[Any]) -> None:
        """Tell the requests whose row cannot be read that it is unknown who sent them."""
        for waiter, row in zip(self.waiters, rows, strict=True):
            if isinstance(row, UnreadableRow) and not waiter.done():
                waiter.set_exception(UnreadableRow())

    def fail(self, error: StoreUnavailable) -> None:
        """Tell those that still wait that there is no answer."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(StoreUnavailable(*error.args))
        self.loop.call_soon(wake_all, self.waiters)


class OpenBatch:
    """The batch that requests join, if there is one, until it is closed."""

    __slots__ = ("_hurry", "_lingering", "batch")

    def __init__(self) -> None:
        """Start without a batch."""
        self.batch: Batch | None = None
        self._hurry: asyncio.TimerHandle | None = None
        self._lingering: asyncio.Future[None] | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether a flight waits in ``wait_and_close()``."""
        return self._lingering is not None

    def hurry(self, timer: asyncio.TimerHandle) -> None:
        """Take the timer that will send this batch, to be cancelled if it is closed before."""
        self._hurry = timer

    def close(self) -> Batch | None:
        """Return the batch, if there is one; from here on nobody joins it."""
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry = None
        batch, self.batch = self.batch, None
        return batch

    async def wait_and_close(self, seconds: float) -> Batch | None:
        """Wait a little for a batch, until ``wake()`` says that it is ready, and close it."""
        if self.batch is None:
            loop = asyncio.get_running_loop()
            self._lingering = loop.create_future()
            timer = loop.call_later(seconds, self.wake)
            try:
                await self._lingering
            finally:
                self._lingering = None
                timer.cancel()
        return self.close()

    def wake(self) -> None:
        """End the wait of ``wait_and_close()``."""
        if self._lingering is not None and not self._lingering.done():
            self._lingering.set_result(None)
