"""
Open connections that end with their session.

A request is checked when it arrives; a WebSocket or a stream lives on. So one query a second, the same as the
checker's, asks about all guarded sessions of a process, and nothing comes back for those that live. Ends that this
process makes, or that a request's check finds, take effect at once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

from aiohttp import WSCloseCode, web

from aiosess._postgres.rows import Rows
from aiosess._row import Row
from aiosess._signals import Signals
from aiosess.errors import SessionRevoked, StoreUnavailable

# One query a second, and the end of a session is known within one: a session may end just after a query has looked,
# and the next one takes its time too.
ASK_EVERY: Final = 0.9  # seconds
SESSION_ENDED: Final = 4001  # of the close codes that applications agree on (RFC 6455, 7.4.2)
# A client that does not read or does not answer is not waited for, nor is a handler that does not notice the close.
LEAVE_WITHIN: Final = 5.0  # seconds


class _Block:
    """One handler inside ``async with sessions.guard(…)``."""

    __slots__ = ("_closings", "_limit", "_response", "is_revoked")

    def __init__(
        self, response: web.StreamResponse | None, limit: asyncio.Timeout, closings: set[asyncio.Task[None]]
    ) -> None:
        self.is_revoked = False
        self._response = response
        self._limit = limit  # its task is cancelled when this is moved into the past
        self._closings = closings

    def end(self) -> None:
        """End the block: its session has ended."""
        self.is_revoked = True
        self._leave(SESSION_ENDED, b"session ended")

    def go_away(self) -> None:
        """End the block, if it holds a connection open: the application stops."""
        if self._response is not None:
            self._leave(WSCloseCode.GOING_AWAY, b"going away")

    def _leave(self, code: int, message: bytes) -> None:
        if self._limit.when() is not None:
            return  # leaving already
        loop = asyncio.get_running_loop()
        if not isinstance(self._response, web.WebSocketResponse):
            self._limit.reschedule(loop.time())
            return
        closing = loop.create_task(_close(self._response, code, message))
        self._closings.add(closing)
        closing.add_done_callback(self._closings.discard)
        self._limit.reschedule(loop.time() + LEAVE_WITHIN)


class _Watched:
    """A guarded session: the revision of it that was seen last, and the blocks that end with it."""

    __slots__ = ("blocks", "id", "revision")

    def __init__(self, row: Row) -> None:
        self.id = row.id
        self.revision = row.revision
        self.blocks: set[_Block] = set()


class OpenConnections:
    """The guarded connections of one application in this process."""

    def __init__(self, rows: Rows, signals: Signals) -> None:
        """Guard nothing yet."""
        self._rows = rows
        self._watched: dict[int, _Watched] = {}
        self._closings: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        signals.ended.connect(self.end)

    @asynccontextmanager
    async def guard(self, row: Row, response: web.StreamResponse | None) -> AsyncIterator[None]:
        """
        End what the block does when the session ends; see ``SessionManager.guard()``.

        Raises:
            RuntimeError: the WebSocket is not prepared.
            SessionRevoked: the session has ended.

        """
        if isinstance(response, web.WebSocketResponse) and not response.prepared:
            message = "prepare the WebSocketResponse before it is guarded"
            raise RuntimeError(message)
        limit = asyncio.timeout(None)
        block = _Block(response, limit, self._closings)
        try:
            async with limit:
                watched = self._enter(row, block)
                try:
                    yield
                finally:
                    self._leave(watched, block)
        except TimeoutError:
            if not limit.expired():
                raise  # the block's own
            if block.is_revoked:
                raise SessionRevoked from None
            raise asyncio.CancelledError from None

    def end(self, session_id: UUID) -> None:
        """End the blocks of a session that has ended."""
        watched = self._watched.pop(session_id.int, None)
        if watched is not None:
            for block in watched.blocks:
                block.end()

    async def ask(self) -> None:
        """Ask once about all guarded sessions, and end the blocks of those that have ended; an outage ends none."""
        if not self._watched:
            return
        asked = list(self._watched.values())
        try:
            changed = await self._rows.changed([each.id for each in asked], [each.revision for each in asked])
        except StoreUnavailable:
            return  # told by the database; the next query is soon
        for session_id, row in changed.items():
            if row is None:
                self.end(session_id)
            else:
                self._note(row)

    async def stop(self, _app: web.Application) -> None:
        """Send every connection away when the application stops: aiohttp would wait for them for a minute."""
        self._is_stopping = True
        for watched in self._watched.values():
            for block in watched.blocks:
                block.go_away()
        await asyncio.gather(*self._closings, return_exceptions=True)

    def _enter(self, row: Row, block: _Block) -> _Watched:
        watched = self._watched.get(row.id.int)
        if watched is None:
            watched = self._watched[row.id.int] = _Watched(row)
        watched.blocks.add(block)
        if self._is_stopping:
            block.go_away()
        return watched

    def _leave(self, watched: _Watched, block: _Block) -> None:
        watched.blocks.discard(block)
        # A session that has ended is not in the map any more; another block may have entered it anew since.
        if not watched.blocks and self._watched.get(watched.id.int) is watched:
            del self._watched[watched.id.int]

    def _note(self, row: Row) -> None:
        watched = self._watched.get(row.id.int)
        if watched is not None:
            watched.revision = row.revision


async def _close(websocket: web.WebSocketResponse, code: int, message: bytes) -> None:
    with suppress(TimeoutError):  # aiohttp has closed the transport then
        async with asyncio.timeout(LEAVE_WITHIN):
            await websocket.close(code=code, message=message)
