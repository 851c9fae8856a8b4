"""Whether a token's session is live, asked of PostgreSQL for every request."""

from time import monotonic
from uuid import UUID

from aiosess.config import SessionConfig
from aiosess.memory import Memory
from aiosess.session import Row
from aiosess.store import RequestStore
from aiosess.token import Token


class Checker:
    """
    Answers ``check(token)`` with the session's row as it was after the call, or None.

    A row's absence is final: an ended session is remembered, and costs no more queries.
    """

    def __init__(self, store: RequestStore, config: SessionConfig) -> None:
        """Remember at most ``max_held_sessions`` ended sessions."""
        self._store = store
        self._ended: Memory[UUID, float] = Memory(config.max_held_sessions)

    async def check(self, token: Token) -> Row | None:
        """
        Return the live session's row, or None if it has ended.

        Raises:
            StoreUnavailable: PostgreSQL does not answer; it is unknown.

        """
        if self._ended.get(token.session_id) is not None:
            return None
        row = await self._store.load(token.session_id)
        if row is None:
            self.bury(token.session_id)
        return row

    def hold(self, row: Row) -> None:
        """Take over a row that a write of this process has just returned."""

    def forget(self, session_id: UUID) -> None:
        """Read the row anew at the next check."""

    def bury(self, session_id: UUID) -> None:
        """Remember that a session has ended."""
        if self._ended.get(session_id) is None:
            self._ended.put(session_id, monotonic())

    def ended_for(self, session_id: UUID) -> float:
        """Return for how many seconds this process has known that a session ended; 0 if it does not."""
        since = self._ended.get(session_id)
        return 0.0 if since is None else monotonic() - since

    def forget_all(self) -> None:
        """Forget everything: the server that answers next may be another, or restored to an earlier time."""
        self._ended.clear()
