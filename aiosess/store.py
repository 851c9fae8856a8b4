"""
Sessions in PostgreSQL, for work outside of a request.

An application has the store as ``app[aiosess.STORE]``; a script or a command opens one with ``open_store()``.
"""

import json
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from aiosess._postgres import schema
from aiosess._postgres.clock import Clock
from aiosess._postgres.database import Database
from aiosess._postgres.endings import Endings
from aiosess._postgres.exact_json import check_user_id
from aiosess._postgres.statements import Statements, read_rows, tell_unreadable
from aiosess._row import session_of
from aiosess._signals import Signals
from aiosess.config import SessionConfig
from aiosess.session import Session, SessionPage, Tally

__all__ = ("SessionStore", "open_store")


LONGEST_LIST: Final = 1000  # sessions; page_for_user() leads to the others


class SessionStore:
    """The sessions of all users, for work outside a request: ``app[aiosess.STORE]``."""

    def __init__(self, statements: Statements, endings: Endings) -> None:
        """Read by these statements; end sessions and announce it by ``endings``."""
        self._statements = statements
        self._endings = endings

    @property
    def clock(self) -> Clock:
        """The database's clock."""
        return self._statements.clock

    async def list_for_user(self, user_id: str, *, limit: int = LONGEST_LIST) -> list[Session]:
        """
        Return a user's live sessions, most recently active first, and no more than ``limit``.

        Raises:
            InvalidData: the user id is not text, empty, or holds NUL.
            StoreUnavailable: PostgreSQL does not answer.

        """
        records = await self._statements.fetch_timed("list_for_user", check_user_id(user_id), limit)
        return _sessions(record[:-1] for record in records)

    async def page_for_user(
        self, user_id: str, *, limit: int = 50, offset: int = 0, first_id: UUID | None = None
    ) -> SessionPage:
        """
        Return some of a user's live sessions and how many there are: ``first_id``, then the most recently active.

        Raises:
            InvalidData: the user id is not text, empty, or holds NUL.
            StoreUnavailable: PostgreSQL does not answer.

        """
        records = await self._statements.fetch_timed("page_for_user", check_user_id(user_id), limit, offset, first_id)
        total, newest_at, read_at = records[0][0], records[0][1], records[0][-1]
        sessions = _sessions((record[2:-1] for record in records if record["id"] is not None), first_id)
        return SessionPage(tuple(sessions), Tally(total, newest_at), read_at)

    async def tally(self, user_ids: Collection[str]) -> dict[str, Tally]:
        """
        Return how many live sessions each of these users has and when the newest began; nothing for those without.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.

        """
        records = await self._statements.fetch("tally", json.dumps(list(user_ids)))
        return {user_id: Tally(total, newest_at) for user_id, total, newest_at in records}

    async def revoke(self, session_id: UUID | str) -> None:
        """
        End one session of whatever user. Every process sees it with its next request.

        Raises:
            SessionNotFound: no live session has this id, or it is no UUID.
            StoreUnavailable: PostgreSQL does not answer; the session may or may not have ended.

        """
        await self._endings.revoke(session_id, None, "revoke")

    async def revoke_user(self, user_id: str) -> int:
        """
        End all sessions of a user, those included whose login is under way, and return how many were live.

        Raises:
            InvalidData: the user id is not text, empty, or holds NUL.
            StoreUnavailable: PostgreSQL does not answer; the sessions may or may not have ended.

        """
        return await self._endings.revoke_user(check_user_id(user_id), None, "revoke_user")

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
        await self._endings.revoke_all()

    async def count(self) -> int:
        """
        Return how many sessions are live.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.

        """
        ((count,),) = await self._statements.fetch("count")
        return int(count)

    async def sweep(self) -> int:
        """
        Delete the rows whose time is up, in small batches, and return how many.

        Expired sessions are refused whether they are swept or not.

        Raises:
            StoreUnavailable: PostgreSQL does not answer; rows that are deleted already stay deleted.

        """
        return await self._endings.sweep()

    async def database_name(self) -> str:
        """
        Return what PostgreSQL calls the database, for a question to an operator.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.

        """
        ((name,),) = await self._statements.fetch("database_name")
        return str(name)


def _sessions(records: Iterable[Iterable[Any]], current_id: UUID | None = None) -> list[Session]:
    """Return what users may see of rows, and leave out those that cannot be read: one must not hide the others."""
    sessions = []
    for row in read_rows(records):
        try:
            sessions.append(session_of(row, is_current=row.id == current_id))
        except (ValueError, TypeError, RecursionError) as error:  # the data is no JSON object, or one of extremes
            tell_unreadable(error)
    return sessions


@asynccontextmanager
async def open_store(dsn: str, config: SessionConfig | None = None) -> AsyncIterator[SessionStore]:
    """
    Give the store of a database that answers and has the tables, for scripts and the command line.

    No event is emitted. The tables are not made or updated: the application, or ``schema_sql()``, does that.

    Args:
        dsn: Where PostgreSQL is.
        config: The options; ``schema``, ``store_timeout``, ``pool_size`` and ``statement_cache_size`` matter here.

    Raises:
        SchemaMismatch: the tables are absent, incomplete, older or newer than this library's.
        StoreUnavailable: PostgreSQL does not answer.

    """
    options, signals = config or SessionConfig(), Signals()
    database = Database(options, signals)
    try:
        await database.connect(dsn)
        await schema.prepare(database, options.schema, migrate=False, audience=None)
        statements = Statements(database, options.schema)
        yield SessionStore(statements, Endings(statements, signals, options))
    finally:
        await database.close()
