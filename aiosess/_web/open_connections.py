"""
Open connections that end with their session, or with the token that opened them.

A request is checked when it arrives; a WebSocket or a stream lives on. So a query a second, the same as the checker's,
asks about all guarded sessions of a process, and nothing comes back for those that live. Ends and changes that this
process makes, or that a request's check finds, take effect at once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from aiosess._postgres.clock import Clock
from aiosess._postgres.rows import Ended, Rows
from aiosess._row import Row
from aiosess._signals import Signals
from aiosess._token.token import Token
from aiosess._web.blocks import FOREIGN, TOKEN_REPLACED, Watched, Watchlist, refuse
from aiosess._web.handshake import is_foreign_handshake
from aiosess._web.visit import Visit
from aiosess.config import SessionConfig
from aiosess.errors import NotAuthenticated, SessionRevoked, StoreUnavailable

# The end of a session is known within a second: it may end just after a query has looked, and the next one takes its
# time too.
ASK_EVERY: Final = 0.9  # seconds
# Sessions in one query. The event loop does nothing else while it writes the question and reads the answer.
ASK_AT_ONCE: Final = 1000
# Blocks that end in one turn of the loop: each wakes a task, and all of them run in the next turn.
END_AT_ONCE: Final = 100


class OpenConnections:
    """The guarded connections of one application in this process."""

    def __init__(self, rows: Rows, signals: Signals, clock: Clock, config: SessionConfig) -> None:
        """Guard nothing yet."""
        self._rows = rows
        self._config = config
        self._list = Watchlist(clock, config)
        self._is_stopping = False
        signals.ended.connect(self._list.end)
        signals.changed.connect(self._list.write)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is guarded, and nothing is being closed."""
        return not self._list.sessions and not self._list.closings

    @asynccontextmanager
    async def guard(self, visit: Visit, response: web.StreamResponse | None) -> AsyncIterator[None]:
        """
        End what the block does when the session or the token of a request ends; see ``SessionManager.guard()``.

        Raises:
            NotAuthenticated: nobody is signed in, or a page of another origin opened the WebSocket.
            RuntimeError: the WebSocket is not prepared.
            SessionRevoked: the session has ended, or the token was replaced.
            StoreUnavailable: PostgreSQL does not answer.

        """
        row = visit.require()
        if isinstance(response, web.WebSocketResponse) and not response.prepared:
            message = "prepare the WebSocketResponse before it is guarded"
            raise RuntimeError(message)
        if is_foreign_handshake(visit.headers, self._config):
            await refuse(response, FOREIGN)
            raise NotAuthenticated(FOREIGN.told)
        limit = asyncio.timeout(None)
        block = self._list.block(visit, row, response, limit)
        if self._list.is_dead(block):
            await refuse(response, TOKEN_REPLACED)
            raise SessionRevoked(TOKEN_REPLACED.told)
        try:
            async with limit:
                watched = self._list.enter(row, block)
                if self._is_stopping:
                    block.go_away()
                try:
                    yield
                finally:
                    self._list.leave(watched, block)
        except TimeoutError:
            if not limit.expired():
                raise  # the block's own
            if block.ended_by is not None:
                raise SessionRevoked(block.ended_by.told, has_expired=block.ended_by.is_expiry) from None
            raise asyncio.CancelledError from None

    def follow(self, visit: Visit, row: Row, token: Token) -> None:
        """Let the blocks of a request go on with the token that it has just made."""
        self._list.follow(visit, row, token)

    async def ask(self) -> None:
        """Ask once about all guarded sessions, and end the blocks whose time has come; an outage ends none."""
        everybody = list(self._list.sessions.values())
        for start in range(0, len(everybody), ASK_AT_ONCE):
            try:
                await self._ask_about(everybody[start : start + ASK_AT_ONCE])
            except StoreUnavailable:
                return  # told by the database; the next query is soon

    async def stop(self, _app: web.Application) -> None:
        """Send every connection away when the application stops: aiohttp would wait for them for a minute."""
        self._is_stopping = True
        blocks = [block for watched in self._list.sessions.values() for block in watched.blocks]
        for start in range(0, len(blocks), END_AT_ONCE):
            for block in blocks[start : start + END_AT_ONCE]:
                block.go_away()
            await asyncio.sleep(0)
        await asyncio.gather(*self._list.closings, return_exceptions=True)

    async def _ask_about(self, asked: list[Watched]) -> None:
        revisions = [each.revision for each in asked]
        changed = await self._rows.changed([each.id for each in asked], revisions)
        ended = 0
        for watched, revision in zip(asked, revisions, strict=True):
            answer = changed.get(watched.id, watched)
            if isinstance(answer, Ended):
                ended += (self._list.expire if answer is Ended.EXPIRED else self._list.end)(watched.id)
            else:
                if isinstance(answer, Row):
                    self._list.read(watched, revision, answer)
                ended += self._list.end_dead(watched)
            if ended >= END_AT_ONCE:
                ended = 0
                await asyncio.sleep(0)
