"""
Sessions in PostgreSQL, for work outside of a request, and the events that follow from what was done.

Each method runs the statement of the same name in ``sql/``. Saves are ``UPDATE … WHERE id = … AND live``, never an
upsert: a slow request cannot bring a revoked session back.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import fields
from functools import cache, wraps
from typing import Any, Final, ParamSpec, TypeVar
from uuid import UUID

from aiosess import events
from aiosess._postgres.database import Clock, Database, read_sql
from aiosess._postgres.exact_json import check_user_id
from aiosess._postgres.login_race import note_own
from aiosess._row import Row, retired_from_json, session_of
from aiosess.config import SessionConfig
from aiosess.errors import SessionNotFound
from aiosess.session import Session, SessionPage, Tally

P = ParamSpec("P")
T = TypeVar("T")
Emit = Callable[[events.Event], None]

SWEEP_BATCH: Final = 1000
REVOKE_BATCH: Final = 10_000
_BEFORE_ALL = UUID(int=0)

_COLUMNS: Final = [field.name for field in fields(Row)]
_RETIRED: Final = _COLUMNS.index("retired")
_CREATED_AT: Final = _COLUMNS.index("created_at")
_OFTEN_CREATED_AT: Final = [
    _COLUMNS.index(name) for name in ("promoted_at", "settled_at", "authenticated_at", "last_active_at")
]


_under_way: set[asyncio.Task[Any]] = set()  # the loop keeps no strong reference


def carried_through(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a write be done, and told of, also when the request that asks for it is cancelled meanwhile."""

    @wraps(method)
    async def carry(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.get_running_loop().create_task(method(*args, **kwargs))
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)
        return await asyncio.shield(task)

    return carry


@cache
def statement(name: str, schema: str) -> str:
    """Return the SQL of a file in ``sql/``."""
    text = read_sql(f"sql/{name}.sql", schema)
    return text.replace("{columns}", read_sql("sql/columns.sql", schema).strip())


def row_of(values: Iterable[Any]) -> Row:
    """Build a row from the columns of ``columns.sql``, in their order."""
    record = list(values)
    record[_RETIRED] = retired_from_json(record[_RETIRED])
    created_at = record[_CREATED_AT]
    for index in _OFTEN_CREATED_AT:  # one object for what is equal: many rows are held
        if record[index] == created_at:
            record[index] = created_at
    return Row(*record)


class SessionStore:
    """The sessions of all users, for work outside a request: ``app[aiosess.STORE]``."""

    def __init__(self, database: Database, config: SessionConfig, emit: Emit) -> None:
        """Speak through a database, and tell events."""
        self._database = database
        self._config = config
        self._emit = emit
        self._ended_listeners: list[Callable[[UUID], None]] = []
        self._all_ended_listeners: list[Callable[[], None]] = []

    @property
    def clock(self) -> Clock:
        """The database's clock."""
        return self._database.clock

    def on_ended(self, listener: Callable[[UUID], None]) -> None:
        """Call the listener with the id of every session that is ended here by decision; time needs no telling."""
        self._ended_listeners.append(listener)

    def on_all_ended(self, listener: Callable[[], None]) -> None:
        """Call the listener when everybody was signed out."""
        self._all_ended_listeners.append(listener)

    async def list_for_user(self, user_id: str) -> list[Session]:
        """
        Return a user's live sessions, most recently active first.

        Raises:
            InvalidData: the user id is not text, empty, or holds NUL.
            StoreUnavailable: PostgreSQL does not answer.

        """
        return [session_of(row) for row in await self._rows("list_for_user", check_user_id(user_id))]

    async def page_for_user(
        self, user_id: str, *, limit: int = 50, offset: int = 0, first_id: UUID | None = None
    ) -> SessionPage:
        """
        Return some of a user's live sessions and how many there are: ``first_id``, then the most recently active.

        Raises:
            InvalidData: the user id is not text, empty, or holds NUL.
            StoreUnavailable: PostgreSQL does not answer.

        """
        records = await self._fetch("page_for_user", check_user_id(user_id), limit, offset, first_id)
        total, newest_at, read_at = records[0][0], records[0][1], records[0][-1]
        self.clock.learn(read_at)
        rows = [row_of(record[2:-1]) for record in records if record["id"] is not None]
        sessions = tuple(session_of(row, is_current=row.id == first_id) for row in rows)
        return SessionPage(sessions, Tally(total, newest_at), read_at)

    async def tally(self, user_ids: Collection[str]) -> dict[str, Tally]:
        """
        Return how many live sessions each of these users has and when the newest began; nothing for those without.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.

        """
        records = await self._fetch("tally", list(user_ids))
        return {user_id: Tally(total, newest_at) for user_id, total, newest_at in records}

    async def revoke(self, session_id: UUID | str) -> None:
        """
        End one session of whatever user. Every process sees it with its next request.

        Raises:
            SessionNotFound: no live session has this id, or it is no UUID.
            StoreUnavailable: PostgreSQL does not answer; the session may or may not have ended.

        """
        await self._revoke(session_id, None, "revoke")

    async def revoke_user(self, user_id: str) -> int:
        """
        End all sessions of a user, those included whose login is under way, and return how many were live.

        Raises:
            InvalidData: the user id is not text, empty, or holds NUL.
            StoreUnavailable: PostgreSQL does not answer; the sessions may or may not have ended.

        """
        return await self._revoke_user(check_user_id(user_id), None, "revoke_user")

    @carried_through
    async def revoke_all(self) -> None:
        """
        End every session of every user, those included whose login is under way.

        Requests see it after some milliseconds, whether there was one session
        or a million (the call itself returns when PostgreSQL has deleted the
        table's files), unless the role may not ``TRUNCATE`` the table or
        somebody reads it as a whole (a dump): then rows are deleted in batches.
        One event tells of all. Sessions that begin while this runs may end too.

        Raises:
            StoreUnavailable: PostgreSQL does not answer; the sessions may or may not have ended.

        """
        ((revoked_at, earlier_at),) = await self._fetch("begin_revoke_all")
        note_own(None, revoked_at, earlier_at)
        ((is_done,),) = await self._fetch("truncate_sessions")
        reached = None if is_done else _BEFORE_ALL
        while reached is not None:
            records = await self._fetch("revoke_before", revoked_at, reached, REVOKE_BATCH)
            reached = records[0]["reached"] if records else None
        for listener in self._all_ended_listeners:
            listener()
        self._emit(events.AllRevoked(at=revoked_at))

    async def count(self) -> int:
        """
        Return how many sessions are live.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.

        """
        ((count,),) = await self._fetch("count")
        return int(count)

    async def sweep(self) -> int:
        """
        Delete the rows whose time is up, in small batches, and return how many.

        Expired sessions are refused whether they are swept or not.

        Raises:
            StoreUnavailable: PostgreSQL does not answer; what was swept stays swept.

        """
        swept, reached = 0, _BEFORE_ALL
        while reached is not None:
            records = await self._fetch("sweep", reached, SWEEP_BATCH)
            reached = records[0]["reached"]
            expired = [row_of(record[2:]) for record in records if record["id"] is not None]
            swept += len(expired)
            for row in expired:
                self._emit(events.Expired.of(row, records[0]["read_at"]))
        while await self._fetch("sweep_logins", SWEEP_BATCH):
            pass
        return swept

    @carried_through
    async def _revoke(self, session_id: UUID | str, user_id: str | None, reason: events.Reason) -> UUID:
        """End one session, of one user or of any, and return its id."""
        for row in await self._rows("revoke", as_uuid(session_id), user_id):
            self._end(events.Revoked.of(row, self.clock.now(), reason=reason))
            return row.id
        raise SessionNotFound

    @carried_through
    async def _revoke_user(self, user_id: str, kept_id: UUID | None, reason: events.Reason) -> int:
        """End the sessions of a user, but one if it is named."""
        first, *records = await self._fetch("revoke_user", user_id, kept_id)
        self._learn_time([first])
        note_own(user_id, *first[:2])
        for record in records:
            self._end(events.Revoked.of(row_of(record[2:-1]), self.clock.now(), reason=reason))
        return len(records)

    def _end(self, event: events.SessionEvent) -> None:
        """Tell of a session that was ended."""
        for listener in self._ended_listeners:
            listener(event.session_id)
        self._emit(event)

    async def _fetch(self, name: str, *arguments: object) -> list[Any]:
        return await self._database.fetch(statement(name, self._config.schema), *arguments)

    async def _rows(self, name: str, *arguments: object) -> list[Row]:
        """Run a statement that returns rows, each with the database's time behind it."""
        records = await self._fetch(name, *arguments)
        self._learn_time(records)
        return [row_of(record[:-1]) for record in records]

    def _learn_time(self, records: list[Any]) -> None:
        """Take over the database's time, which stands behind each record."""
        if records:
            self.clock.learn(records[0][-1])

    async def _one(self, name: str, *arguments: object) -> Row | None:
        rows = await self._rows(name, *arguments)
        return rows[0] if rows else None


def as_uuid(value: UUID | str) -> UUID:
    """Read a session id as it comes from a form or a path: what is no UUID names no session."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise SessionNotFound from None
