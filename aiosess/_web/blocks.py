"""Blocks inside ``async with sessions.guard(…)``, and the sessions and tokens that they end with."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from itertools import count
from math import inf
from typing import Final, NamedTuple
from uuid import UUID

from aiohttp import WSCloseCode, web

from aiosess._postgres.clock import Clock
from aiosess._row import Row
from aiosess._token.open_token import dies_at
from aiosess._token.token import Token
from aiosess._web.visit import Visit
from aiosess.config import SessionConfig

# A client that does not read or does not answer is not waited for, nor is a handler that does not notice the close.
LEAVE_WITHIN: Final = 5.0  # seconds

# No row has a negative revision, so this reads the row anew. Each number is used once: an answer to an older question
# must not be taken for the one to a newer.
_unknown_revisions = count(-1, -1)


class Reason(NamedTuple):
    """Why a connection ends: the close code of a WebSocket and its message, and what the handler is told."""

    code: int
    message: bytes
    told: str
    is_expiry: bool = False


# 4001 and 4002 are of the close codes that applications agree on (RFC 6455, 7.4.2).
SESSION_ENDED: Final = Reason(4001, b"session ended", "the session has ended")
SESSION_EXPIRED: Final = SESSION_ENDED._replace(told="the session has expired", is_expiry=True)
TOKEN_REPLACED: Final = Reason(4002, b"token replaced", "the token that opened the connection was replaced")
GOING_AWAY: Final = Reason(WSCloseCode.GOING_AWAY, b"going away", "")
FOREIGN: Final = Reason(
    WSCloseCode.POLICY_VIOLATION, b"foreign origin", "a page of another origin opened the WebSocket"
)


class Block:
    """
    One handler inside ``async with sessions.guard(…)``.

    Attributes:
        visit: The request that opened it.
        token: The token that the request had.
        client: The digest of who sent it.
        dies_at: When its token no longer counts, as ``open_token.dies_at()`` says.
        ended_by: Why it has to end, once its session or token has.

    """

    __slots__ = ("_closings", "_limit", "_response", "client", "dies_at", "ended_by", "token", "visit")

    def __init__(  # noqa: PLR0913 - what a block has, by name
        self,
        *,
        visit: Visit,
        token: Token,
        client: str,
        response: web.StreamResponse | None,
        limit: asyncio.Timeout,
        closings: set[asyncio.Task[None]],
    ) -> None:
        self.visit = visit
        self.token = token
        self.client = client
        self.dies_at = inf
        self.ended_by: Reason | None = None
        self._response = response
        self._limit = limit  # its task is cancelled when this is moved into the past
        self._closings = closings

    def end(self, reason: Reason) -> None:
        """End the block: its session or its token has ended."""
        self.ended_by = self.ended_by or reason
        self._leave(reason)

    def go_away(self) -> None:
        """End the block, if it holds a connection open: the application stops."""
        if self._response is not None:
            self._leave(GOING_AWAY)

    def _leave(self, reason: Reason) -> None:
        if self._limit.when() is not None:
            return  # leaving already
        loop = asyncio.get_running_loop()
        if not isinstance(self._response, web.WebSocketResponse):
            self._limit.reschedule(loop.time())
            return
        closing = loop.create_task(_close(self._response, reason))
        self._closings.add(closing)
        closing.add_done_callback(self._closings.discard)
        self._limit.reschedule(loop.time() + LEAVE_WITHIN)


class Watched:
    """
    A guarded session, and the blocks that end with it.

    Attributes:
        id: The session's id.
        revision: The one by which all blocks were judged; negative when some were judged by another row.
        newest: The highest revision that was seen.

    """

    __slots__ = ("blocks", "id", "newest", "revision")

    def __init__(self, row: Row) -> None:
        self.id = row.id
        self.revision = self.newest = row.revision
        self.blocks: set[Block] = set()

    def saw(self, row: Row) -> None:
        """Have the row read anew if it is not the one by which the other blocks were judged."""
        if self.revision != row.revision:
            self.revision = next(_unknown_revisions)
            self.newest = max(self.newest, row.revision)


class Watchlist:
    """
    The guarded sessions of this process.

    Attributes:
        sessions: By their ids' numbers.
        closings: The tasks that close WebSockets.

    """

    def __init__(self, clock: Clock, config: SessionConfig) -> None:
        """Watch nothing yet."""
        self.sessions: dict[int, Watched] = {}
        self.closings: set[asyncio.Task[None]] = set()
        self._clock = clock
        self._config = config

    def block(self, visit: Visit, row: Row, response: web.StreamResponse | None, limit: asyncio.Timeout) -> Block:
        """Make a block for a request."""
        assert visit.token is not None, "a visit with a row has its token"  # noqa: S101 - for the type checker
        client = visit.caller(self._config.trusted_networks).digest
        block = Block(
            visit=visit, token=visit.token, client=client, response=response, limit=limit, closings=self.closings
        )
        self._judge(block, row)
        return block

    def is_dead(self, block: Block) -> bool:
        """Say whether a block's token no longer counts."""
        return block.dies_at < inf and block.dies_at <= self._clock.now().timestamp()

    def enter(self, row: Row, block: Block) -> Watched:
        """Let a block end with its session from now on."""
        watched = self.sessions.get(row.id.int)
        if watched is None:
            watched = self.sessions[row.id.int] = Watched(row)
        watched.saw(row)
        watched.blocks.add(block)
        return watched

    def leave(self, watched: Watched, block: Block) -> None:
        """Forget a block that is over."""
        watched.blocks.discard(block)
        # A session that has ended is not in the map any more; another block may have entered it anew since.
        if not watched.blocks and self.sessions.get(watched.id.int) is watched:
            del self.sessions[watched.id.int]

    def end(self, session_id: UUID) -> int:
        """End the blocks of a session that has ended, and return how many there were."""
        return self._end(session_id, SESSION_ENDED)

    def expire(self, session_id: UUID) -> int:
        """End the blocks of a session whose time ran out, and return how many there were."""
        return self._end(session_id, SESSION_EXPIRED)

    def end_dead(self, watched: Watched) -> int:
        """End the blocks of a session whose tokens no longer count, and return how many there were."""
        return _end([block for block in watched.blocks if self.is_dead(block)], TOKEN_REPLACED)

    def read(self, watched: Watched, revision: int, row: Row) -> None:
        """Take over a row that PostgreSQL had when this revision was the last that was seen."""
        if watched.revision == revision:  # otherwise a newer row was seen while the query ran
            self._note(watched, row)

    def write(self, row: Row) -> None:
        """Take over a row that a write of this process has returned."""
        watched = self.sessions.get(row.id.int)
        if watched is not None and watched.newest < row.revision:  # an older one says nothing new
            self._note(watched, row)
            self.end_dead(watched)

    def follow(self, visit: Visit, row: Row, token: Token) -> None:
        """Let the blocks of a request go on with the token that it has just made."""
        watched = self.sessions.get(row.id.int)
        if watched is None:
            return
        watched.saw(row)
        for block in watched.blocks:
            if block.visit is visit:
                block.token = token
                self._judge(block, row)

    def _end(self, session_id: UUID, reason: Reason) -> int:
        watched = self.sessions.pop(session_id.int, None)
        return 0 if watched is None else _end(watched.blocks, reason)

    def _note(self, watched: Watched, row: Row) -> None:
        watched.revision = watched.newest = row.revision
        for block in watched.blocks:
            self._judge(block, row)

    def _judge(self, block: Block, row: Row) -> None:
        block.dies_at = dies_at(row, block.token, block.client, self._config)


def _end(blocks: Collection[Block], reason: Reason) -> int:
    ended = tuple(blocks)  # under eager tasks a block may leave at once
    for block in ended:
        block.end(reason)
    return len(ended)


async def refuse(response: web.StreamResponse | None, reason: Reason) -> None:
    """Close a WebSocket whose block must not begin."""
    if isinstance(response, web.WebSocketResponse):
        await _close(response, reason)


async def _close(websocket: web.WebSocketResponse, reason: Reason) -> None:
    with suppress(TimeoutError):  # aiohttp has closed the transport then
        async with asyncio.timeout(LEAVE_WITHIN):
            await websocket.close(code=reason.code, message=reason.message)
