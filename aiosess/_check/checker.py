"""
Whether a token's session is live: asked of PostgreSQL for every request, in one query for many.

The checker holds rows it has read before and asks one question for all requests that wait at that moment: "of these
(id, revision) pairs, which are not what I have?" Nothing comes back for what has not changed, so a thousand unchanged
sessions cost one small query. A request never joins a batch that was already sent, so it always sees a revocation that
was acknowledged before it came in: the check is linearizable (Herlihy and Wing, 1990), on every process, with no cache
to invalidate.
"""

import asyncio
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from time import monotonic
from typing import Final
from uuid import UUID

from aiosess._bounded_map import Memory
from aiosess._check.batch_future import Waiter, wake_all
from aiosess._postgres.request_store import RequestStore
from aiosess._row import Row
from aiosess._token.token import Token
from aiosess.config import SessionConfig
from aiosess.errors import StoreUnavailable

# One batch at a time makes the largest batches. One that is slow (a lost packet, a stall) is not waited for.
SLOW_AFTER: Final = 0.02  # seconds
MAX_IN_FLIGHT: Final = 4
# Batches that follow one another closely share a connection: taking one out of a pool and giving it back costs as much
# as a query. After so long it goes back all the same, for writes wait in line for the pool too.
KEEP_CONNECTION: Final = 0.1  # seconds
# Under load the next batch comes within this time. A pool of one connection is given back at once.
LINGER: Final = 0.005  # seconds
NOT_HELD: Final = -1  # no row has this revision


class _Held:
    """What is known of a session: its row, or that it ended; and when that was asked, by the monotonic clock."""

    __slots__ = ("asked_at", "row")

    def __init__(self, row: Row | None, asked_at: float) -> None:
        self.row = row
        self.asked_at = asked_at


class _Batch:
    """The questions that go out together: for each waiting request its session's id, and the row that is held of it."""

    __slots__ = ("asked_at", "epoch", "ids", "loop", "opened_at", "rows", "waiters")

    def __init__(self, epoch: int, loop: asyncio.AbstractEventLoop) -> None:
        self.ids: list[UUID] = []
        self.rows: list[Row | None] = []
        self.waiters: list[Waiter] = []
        self.loop = loop
        self.opened_at = monotonic()
        self.asked_at = 0.0
        self.epoch = epoch  # the rows were held in; a later one may be another server's

    def replace(self, changed: dict[UUID, Row | None]) -> None:
        """Put the rows that were read in the place of those that were held."""
        self.rows = [changed.get(session_id, row) for session_id, row in zip(self.ids, self.rows, strict=True)]

    def answer(self) -> None:
        """Answer those that still wait: some may have been cancelled."""
        for waiter, row in zip(self.waiters, self.rows, strict=True):
            if not waiter.done():
                waiter.set_result(row)
        self.loop.call_soon(wake_all, self.waiters)

    def fail(self, error: StoreUnavailable) -> None:
        """Tell those that still wait that there is no answer."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(StoreUnavailable(*error.args))
        self.loop.call_soon(wake_all, self.waiters)


class Checker:
    """
    Answers ``check(token)`` with the session's row as it was after the call, or None.

    A row's absence is final: an ended session is remembered, and costs no more
    queries. Held rows and ended sessions are bounded together.
    """

    def __init__(self, store: RequestStore, config: SessionConfig) -> None:
        """Hold nothing yet."""
        self._store = store
        store.on_ended(self.bury)
        store.on_all_ended(self.forget_all)
        self._max_staleness = config.max_staleness.total_seconds()
        self._deadline = config.store_timeout.total_seconds()
        self._held: Memory[int, _Held] = Memory(config.max_held_sessions)
        self._waiting: _Batch | None = None
        self._in_flight = 0
        self._epoch = 0
        self._hurry: asyncio.TimerHandle | None = None
        self._lingering: asyncio.Future[None] | None = None
        self._flights: set[asyncio.Task[None]] = set()
        self._buried_listeners: list[Callable[[UUID], None]] = []

    def on_buried(self, listener: Callable[[UUID], None]) -> None:
        """Call the listener with the id of every session whose end this process learns of."""
        self._buried_listeners.append(listener)

    def check(self, token: Token) -> Awaitable[Row | None]:
        """
        Return, to be awaited, the live session's row, or None if it has ended.

        Raises:
            StoreUnavailable: PostgreSQL does not answer; it is unknown.

        """
        held = self._held.get(token.session_id.int)
        row = None
        if held is not None:
            row = held.row
            if row is None or (self._max_staleness and self._believes(held, row, token)):
                return _answered(row)
        batch = self._waiting or self._open()
        waiter = Waiter(loop=batch.loop)
        waiter.callback = None
        # The id that PostgreSQL gave is of asyncpg's own type, whose text is made ten times as fast.
        batch.ids.append(token.session_id if row is None else row.id)
        batch.rows.append(row)
        batch.waiters.append(waiter)
        return waiter

    def _believes(self, held: _Held, row: Row, token: Token) -> bool:
        """Whether a held row is recent enough to go by; never for a secret that it doesn't know, which may be newer."""
        is_recent = monotonic() - held.asked_at < self._max_staleness
        return is_recent and compare_digest(row.secret_hash, token.secret_hash)

    def hold(self, row: Row) -> None:
        """Take over a row that was read, or that a write has returned; never an older one, nor one that has ended."""
        held = self._held.get(row.id.int)
        if held is None:
            self._held.put(row.id.int, _Held(row, 0.0))
        elif held.row is not None and held.row.revision < row.revision:
            held.row = row

    def forget(self, session_id: UUID) -> None:
        """Read the row anew at the next check."""
        self._held.pop(session_id.int)

    def bury(self, session_id: UUID) -> None:
        """Remember that a session has ended."""
        held = self._held.get(session_id.int)
        if held is None or held.row is not None:
            self._held.put(session_id.int, _Held(None, monotonic()))
            for listener in self._buried_listeners:
                listener(session_id)

    def forget_all(self) -> None:
        """Forget everything: the server that answers next may be another, or restored to an earlier time."""
        self._held.clear()
        self._epoch += 1

    def _open(self) -> _Batch:
        """Start a batch. It goes out when the requests that are being handled at this moment have joined it."""
        loop = asyncio.get_running_loop()
        batch = self._waiting = _Batch(self._epoch, loop)
        if self._in_flight == 0 or self._lingering is not None:
            loop.call_soon(self._send)
        elif self._in_flight < MAX_IN_FLIGHT:
            self._hurry = loop.call_later(SLOW_AFTER, self._send)
        return batch

    def _send(self) -> None:
        """Send the batch that waits, if one does: by a flight that lingers, or on a connection of its own."""
        if self._lingering is not None:
            _wake(self._lingering)
            return
        batch = self.next_batch()
        if batch is None:
            return
        self._in_flight += 1
        task = asyncio.get_running_loop().create_task(self._fly(batch))
        self._flights.add(task)
        task.add_done_callback(self._flights.discard)

    def next_batch(self) -> _Batch | None:
        """Close the batch that waits, if one does: from here on nobody joins it."""
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry = None
        batch, self._waiting = self._waiting, None
        return batch

    async def await_batch(self) -> _Batch | None:
        """Wait a little for the next batch, and close it."""
        if self._waiting is None:
            loop = asyncio.get_running_loop()
            self._lingering = loop.create_future()
            timer = loop.call_later(LINGER, _wake, self._lingering)
            try:
                await self._lingering
            finally:
                self._lingering = None
                timer.cancel()
        return self.next_batch()

    async def _fly(self, batch: _Batch) -> None:
        """Ask for a batch and those that follow it closely, and answer everybody in them whatever happens."""
        # The deadline of the first batch is that of the flight: half of it is left for the last one.
        flight = _Flight(self, batch, min(KEEP_CONNECTION, self._deadline / 2))
        try:
            await self._store.check(flight, batch.opened_at + self._deadline - monotonic())
        except StoreUnavailable as error:
            flight.fail(error)
        except BaseException:
            flight.fail(StoreUnavailable())
            raise
        finally:
            self._in_flight -= 1
            if self._waiting is not None:
                asyncio.get_running_loop().call_soon(self._send)

    def prepare(self, batch: _Batch) -> tuple[list[UUID], list[int]]:
        """Return what to ask; if a connection was lost since the batch began, whole rows: another server answers."""
        if batch.epoch != self._epoch:
            batch.rows = [None] * len(batch.rows)
        batch.epoch, batch.asked_at = self._epoch, monotonic()
        return batch.ids, [NOT_HELD if row is None else row.revision for row in batch.rows]

    def learn(self, batch: _Batch, changed: dict[UUID, Row | None]) -> None:
        """Take over what has changed, and answer everybody in the batch."""
        if changed:
            batch.replace(changed)
            if batch.epoch == self._epoch:  # else the connection was lost just after it had answered
                self._take_over(changed)
        if self._max_staleness:
            self._note_asked(batch)
        batch.answer()

    def _take_over(self, changed: dict[UUID, Row | None]) -> None:
        for session_id, row in changed.items():
            if row is None:
                self.bury(session_id)
            else:
                self.hold(row)

    def _note_asked(self, batch: _Batch) -> None:
        for session_id in batch.ids:
            held = self._held.get(session_id.int)
            if held is not None and held.row is not None:
                held.asked_at = batch.asked_at


class _Flight:
    """What one connection is asked in a row: a batch, and those that wait when its answer comes."""

    __slots__ = ("_batch", "_checker", "_until")

    def __init__(self, checker: Checker, batch: _Batch, keeps: float) -> None:
        self._checker = checker
        self._batch: _Batch | None = batch
        self._until = monotonic() + keeps

    async def ask(self, *, lingers: bool) -> tuple[list[UUID], list[int]] | None:
        """Return the next (ids, revisions) to ask, the same ones again after a failure; None: that was all."""
        if self._batch is None and monotonic() < self._until:
            self._batch = await self._checker.await_batch() if lingers else self._checker.next_batch()
        return None if self._batch is None else self._checker.prepare(self._batch)

    def answer(self, changed: dict[UUID, Row | None]) -> None:
        """Answer the batch that was asked last."""
        batch, self._batch = self._batch, None
        assert batch is not None, "asked before it is answered"  # noqa: S101 - for the type checker
        self._checker.learn(batch, changed)

    def fail(self, error: StoreUnavailable) -> None:
        """Tell those that have no answer that there is none."""
        if self._batch is not None:
            self._batch.fail(error)


def _answered(row: Row | None) -> asyncio.Future[Row | None]:
    answer: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
    answer.set_result(row)
    return answer


def _wake(lingering: asyncio.Future[None]) -> None:
    if not lingering.done():
        lingering.set_result(None)
