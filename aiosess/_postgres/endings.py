"""How sessions end by decision, one or many at once, and how rows whose time is up are swept."""

from typing import Any, Final
from uuid import UUID

from aiosess import events
from aiosess._postgres.carried_through import carried_through
from aiosess._postgres.login_race import note_own
from aiosess._postgres.statements import Statements, UnreadableRow, read_rows, row_of
from aiosess._signals import Signals
from aiosess.config import SessionConfig
from aiosess.errors import SessionNotFound

SWEEP_BATCH: Final = 1000
REVOKE_BATCH: Final = 10_000
# Of one user's sessions: to read so many rows and make their events stops the loop for some milliseconds. A login
# evicts as many at most (aiosess_authenticate).
USER_BATCH: Final = 500
LOGINS_BATCH: Final = 10_000
_BEFORE_ALL = UUID(int=0)


class Endings:
    """
    Ends sessions, and announces their ends and events.

    Every method raises ``StoreUnavailable`` when PostgreSQL does not answer; what it was to do may or may not be done.
    """

    def __init__(self, statements: Statements, signals: Signals, config: SessionConfig) -> None:
        """Run these statements, and announce by these signals."""
        self._statements = statements
        self._signals = signals
        self._config = config

    @carried_through
    async def revoke(self, session_id: UUID | str, user_id: str | None, reason: events.Reason) -> UUID:
        """
        End one session, of this user or (None) of any, and return its id.

        Raises:
            SessionNotFound: the id is foreign, unknown, or no id at all; all give the same error.

        """
        for record in await self._statements.fetch_timed("revoke", as_uuid(session_id), user_id):
            return self._tell_revoked(record[:-1], reason)
        raise SessionNotFound

    @carried_through
    async def revoke_user(self, user_id: str, kept_id: UUID | None, reason: events.Reason) -> int:
        """
        End the sessions of a user but one (None: but none), logins under way included; return how many were live.

        A user may have very many, so they end in batches. The first statement notes when that was: a session that
        begins between two batches goes on.
        """
        first, *records = await self._statements.fetch("revoke_user", user_id, kept_id, USER_BATCH)
        self._statements.learn_time([first])
        revoked_at = first[0]
        note_own(user_id, *first[:2])
        batch = [record[2:-1] for record in records]
        ended = self._tell_all_revoked(batch, reason)
        while len(batch) == USER_BATCH:
            records = await self._statements.fetch_timed("revoke_user_more", user_id, kept_id, revoked_at, USER_BATCH)
            batch = [record[:-1] for record in records]
            ended += self._tell_all_revoked(batch, reason)
        return ended

    @carried_through
    async def revoke_all(self) -> None:
        """End every session of every user; see ``SessionStore.revoke_all()``."""
        ((revoked_at, earlier_at),) = await self._statements.fetch("begin_revoke_all")
        note_own(None, revoked_at, earlier_at)
        ((is_done,),) = await self._statements.fetch("truncate_sessions")
        reached = None if is_done else _BEFORE_ALL
        while reached is not None:
            records = await self._statements.fetch("revoke_before", revoked_at, reached, REVOKE_BATCH)
            reached = records[0]["reached"] if records else None
        self._signals.all_ended.send()
        self._signals.happened.send(events.AllRevoked(at=revoked_at))

    async def sweep(self) -> int:
        """Delete the rows whose time is up, in small batches, each when the hooks have worked off the one before."""
        swept, reached = 0, _BEFORE_ALL
        while reached is not None:
            records = await self._statements.fetch("sweep", reached, SWEEP_BATCH)
            reached = records[0]["reached"]
            expired = [record[2:] for record in records if record["id"] is not None]
            swept += len(expired)
            for row in read_rows(expired):
                self._signals.happened.send(events.Expired.of(row, records[0]["read_at"]))
            await self._signals.caught_up()
        user_id = ""
        while records := await self._statements.fetch("sweep_logins", user_id, LOGINS_BATCH):
            user_id = records[0]["reached"]
        return swept

    def _tell_all_revoked(self, batch: list[Any], reason: events.Reason) -> int:
        """Announce the ends of many sessions; return how many."""
        for columns in batch:
            self._tell_revoked(columns, reason)
        return len(batch)

    def _tell_revoked(self, columns: Any, reason: events.Reason) -> UUID:  # noqa: ANN401 - a record's values
        """Announce the end of a session, and the event if its row can be read; return its id."""
        session_id: UUID = columns[0]
        try:
            self._signals.tell_end(events.Revoked.of(row_of(columns), self._statements.clock.now(), reason=reason))
        except UnreadableRow:
            self._signals.ended.send(session_id)
        return session_id

    async def claim_sweep(self) -> bool:
        """Take this interval's sweep; False: another process has."""
        return bool(await self._statements.fetch("claim_sweep", self._config.sweep_interval.total_seconds()))


def as_uuid(value: UUID | str) -> UUID:
    """Read a session id as it comes from a form or a path: text that is no UUID names no session."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise SessionNotFound from None
