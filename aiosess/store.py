"""
Sessions in PostgreSQL: every statement about them, and the events that follow from what it did.

``SessionStore`` is what applications use outside of a request. ``RequestStore`` adds what the request path needs. Each
method runs the statement of the same name in ``sql/``. Saves are ``UPDATE … WHERE id = … AND live``, never an upsert: a
slow request cannot bring a revoked session back.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from time import monotonic
from typing import Any, Final, Protocol
from uuid import UUID

from aiosess import events
from aiosess.client import Device
from aiosess.config import SessionConfig
from aiosess.database import Clock, Connection, Database, read_sql
from aiosess.errors import SessionNotFound
from aiosess.payload import check_user_id
from aiosess.rotation import MAX_RETIRED, Meaning
from aiosess.session import Row, Session, retired_from_json
from aiosess.token import Token

Emit = Callable[[events.Event], None]

SWEEP_BATCH: Final = 1000
REVOKE_BATCH: Final = 10_000
_BEFORE_ALL = UUID(int=0)

# Whose sessions (None: everybody's) this task has ended last, and when, by the monotonic clock: a login that follows in
# the same task (a password reset signs out everywhere, then in) was not under way then.
_revoked_here: ContextVar[tuple[str | None, float]] = ContextVar("aiosess_revoked_here", default=("", 0.0))


@cache
def _statement(name: str, schema: str) -> str:
    text = read_sql(f"sql/{name}.sql", schema)
    return text.replace("{columns}", read_sql("sql/columns.sql", schema).strip())


def _row(values: Iterable[Any]) -> Row:
    """Build a row from the columns of ``columns.sql``, in their order."""
    record = list(values)
    record[9] = retired_from_json(record[9])
    return Row(*record)


def _changed(records: Iterable[Any]) -> dict[UUID, Row | None]:
    """Read what ``check.sql`` returns: the rows that are not what was held, None for sessions that have ended."""
    return {record[0]: _row(record[2:-1]) if record[1] else None for record in records}


@dataclass(frozen=True, slots=True)
class Login:
    """What a new session starts with."""

    token: Token
    user_id: str = field(repr=False)
    ip: str | None = field(repr=False)
    device: Device
    data: str = field(repr=False)
    idle_timeout: timedelta
    absolute_timeout: timedelta
    remember: bool
    began: float  # when its request came in, by the monotonic clock
    earlier_id: UUID | None = field(repr=False)


class Flight(Protocol):
    """Batches of the checker that follow one another: what to ask, and what came back."""

    async def ask(self, *, lingers: bool) -> tuple[list[UUID], list[int]] | None:
        """Return ids and the revisions held of them, after a short wait if it may; None: there is nothing to ask."""

    def answer(self, changed: dict[UUID, Row | None]) -> None:
        """Take those that are not what is held: their rows, or None for those that ended."""


class SessionStore:
    """The sessions of all users, for work outside a request: ``app[aiosess.STORE]``."""

    def __init__(self, database: Database, config: SessionConfig, emit: Emit) -> None:
        """Speak through a database, and tell events."""
        self._database = database
        self._config = config
        self._emit = emit
        self._ended_listeners: list[Callable[[UUID], None]] = []
        self._all_ended_listeners: list[Callable[[], None]] = []
        self._check = _statement("check", config.schema)

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
        return [Session.from_row(row) for row in await self._rows("list_for_user", check_user_id(user_id))]

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
        ((revoked_at,),) = await self._fetch("begin_revoke_all")
        ((is_done,),) = await self._fetch("truncate_sessions")
        reached = None if is_done else _BEFORE_ALL
        while reached is not None:
            records = await self._fetch("revoke_before", revoked_at, reached, REVOKE_BATCH)
            reached = records[0]["reached"] if records else None
        _revoked_here.set((None, monotonic()))
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
            expired = [_row(record[2:]) for record in records if record["id"] is not None]
            swept += len(expired)
            for row in expired:
                self._emit(events.Expired.of(row, records[0]["read_at"]))
        while await self._fetch("sweep_logins", SWEEP_BATCH):
            pass
        return swept

    async def _revoke(self, session_id: UUID | str, user_id: str | None, reason: events.Reason) -> UUID:
        """End one session, of one user or of any, and return its id."""
        for row in await self._rows("revoke", _as_uuid(session_id), user_id):
            self._end(events.Revoked.of(row, self.clock.now(), reason=reason))
            return row.id
        raise SessionNotFound

    async def _revoke_user(self, user_id: str, kept_id: UUID | None, reason: events.Reason) -> int:
        """End the sessions of a user, but one if it is named."""
        rows = await self._rows("revoke_user", user_id, kept_id)
        _revoked_here.set((user_id, monotonic()))
        for row in rows:
            self._end(events.Revoked.of(row, self.clock.now(), reason=reason))
        return len(rows)

    def _end(self, event: events.SessionEvent) -> None:
        """Tell of a session that was ended."""
        for listener in self._ended_listeners:
            listener(event.session_id)
        self._emit(event)

    async def _fetch(self, name: str, *arguments: object) -> list[Any]:
        return await self._database.fetch(_statement(name, self._config.schema), *arguments)

    async def _rows(self, name: str, *arguments: object) -> list[Row]:
        """Run a statement that returns rows, each with the database's time behind it."""
        records = await self._fetch(name, *arguments)
        self._learn_time(records)
        return [_row(record[:-1]) for record in records]

    def _learn_time(self, records: list[Any]) -> None:
        """Take over the database's time, which stands behind each record."""
        if records:
            self.clock.learn(records[0][-1])

    async def _one(self, name: str, *arguments: object) -> Row | None:
        rows = await self._rows(name, *arguments)
        return rows[0] if rows else None


class RequestStore(SessionStore):
    """What the request path asks of PostgreSQL; every statement is by primary key, but for the login."""

    async def check(self, flight: Flight, within: float) -> None:
        """Ask which of some (id, revision) pairs are not what PostgreSQL has, batch after batch, on one connection."""

        async def work(connection: Connection) -> None:
            while (pairs := await flight.ask(lingers=self._database.has_room)) is not None:
                records = await connection.fetch(self._check, *(_array(values) for values in pairs))
                self._learn_time(records)
                flight.answer(_changed(records))
                # Two turns of the loop for the requests that were set free: what they let follow joins the next batch.
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        await self._database.run(work, within)

    async def changed(self, ids: Iterable[UUID], revisions: Iterable[int]) -> dict[UUID, Row | None]:
        """Return those of some (id, revision) pairs that are not what PostgreSQL has: rows, or None for the ended."""
        records = await self._fetch("check", _array(ids), _array(revisions))
        self._learn_time(records)
        return _changed(records)

    async def load(self, session_id: UUID) -> Row | None:
        """Return a live session's row."""
        return await self._one("load", session_id)

    async def authenticate(self, login: Login) -> Row | None:
        """
        Insert a session, end the request's earlier one, and evict what is over the cap, in one round trip.

        None means that the user's sessions were revoked after the login began.
        """
        config, device = self._config, login.device
        statement = _statement("authenticate", config.schema)

        async def insert(connection: Connection) -> list[Any]:
            # Not before there is a connection: a revocation while this login waits for one is a later one.
            revoked_id, revoked_at = _revoked_here.get()
            began_at = max(login.began, revoked_at) if revoked_id in {login.user_id, None} else login.began
            # Right before the transaction begins: what the message takes to PostgreSQL is what a revocation can be
            # overlooked by, and a password check takes longer.
            began = timedelta(seconds=monotonic() - began_at)
            records: list[Any] = await connection.fetch(
                statement,
                login.token.session_id,
                login.user_id,
                login.token.secret_hash,
                login.token.id,
                login.ip,
                device.user_agent,
                device.name,
                device.type,
                device.fingerprint,
                login.data,
                login.idle_timeout,
                login.absolute_timeout,
                login.remember,
                began,
                login.earlier_id,
                config.max_sessions_per_user,
            )
            return records

        records = await self._database.run(insert)
        created = None
        for record in records:
            row, at = _row(record[1:-1]), record[-1]
            self.clock.learn(at)
            if record["outcome"] == "replaced":
                self._end(events.Revoked.of(row, at, reason="login"))
            elif record["outcome"] == "evicted":
                self._end(events.Evicted.of(row, at))
            else:
                created = row
                self._emit(events.Created.of(row, at))
                if record["outcome"] == "created on a new device":
                    self._emit(events.NewDevice.of(row, at))
        return created

    async def adopt(self, judged: Row, token: Token, meaning: Meaning) -> Row | None:
        """Make a presented token the current one, if the row still is as it was judged."""
        row = await self._one(
            "adopt",
            judged.id,
            token.version,
            token.id,
            token.parent_id,
            MAX_RETIRED,
            judged.token_id,
            judged.settled_at,
        )
        if row is not None:
            at = self.clock.now()
            went_back = meaning is Meaning.AHEAD
            self._emit(events.WentBack.of(row, at) if went_back else events.Rotated.of(row, at, cause="automatic"))
        return row

    async def lease(self, judged: Row) -> Row | None:
        """Take the right to mint a successor for one overlap, if nobody has it."""
        return await self._one("lease", judged.id, judged.token_id, self._config.rotation_overlap)

    async def rotate(self, presented: Token, fresh: Token, *, reauthenticated: bool) -> Row | None:
        """Replace the session's secret, if the presented one still is its secret."""
        row = await self._one(
            "rotate", presented.session_id, presented.secret_hash, fresh.secret_hash, fresh.id, reauthenticated
        )
        if row is not None:
            cause = "reauthenticated" if reauthenticated else "requested"
            self._emit(events.Rotated.of(row, self.clock.now(), cause=cause))
        return row

    async def patch(self, session_id: UUID, key: str, value: str) -> Row | None:
        """Set one key of the data to a JSON text; None: the session is gone, or the data would be too large."""
        return await self._one("patch", session_id, key, value, self._config.max_data_bytes)

    async def remove_key(self, session_id: UUID, key: str) -> Row | None:
        """Remove one key of the data; None: the session is gone."""
        return await self._one("remove_key", session_id, key)

    async def refingerprint(self, judged: Row, fingerprint: str, presenter: events.Origin) -> Row | None:
        """Note another kind of browser; None: another request has."""
        row = await self._one("refingerprint", judged.id, judged.fingerprint, fingerprint)
        if row is not None:
            self._emit(events.FingerprintChanged.of(row, self.clock.now(), presenter=presenter))
        return row

    async def end_reused(self, judged: Row, presenter: events.Origin) -> bool:
        """End a session that two parties use, if the row still is as it was judged."""
        row = await self._one("end_reused", judged.id, judged.token_id, judged.settled_at)
        if row is not None:
            self._end(events.ReuseDetected.of(row, self.clock.now(), presenter=presenter))
        return row is not None

    async def revoke_own(self, session_id: UUID | str, user_id: str, reason: events.Reason) -> UUID:
        """End one session of this user; another's, an unknown id and no id at all are told apart by nothing."""
        return await self._revoke(session_id, user_id, reason)

    async def revoke_others(self, user_id: str, kept_id: UUID | None, reason: events.Reason) -> int:
        """End the user's sessions but one (None: but none)."""
        return await self._revoke_user(user_id, kept_id, reason)

    async def touch(self, marks: dict[UUID, tuple[datetime, str | None]]) -> None:
        """Write last activity, and settled marks where a token id is given, of many sessions in one UPDATE."""
        times = [at for at, _ in marks.values()]
        settled = [token_id for _, token_id in marks.values()]
        await self._fetch("touch", list(marks), times, settled)

    async def claim_sweep(self) -> bool:
        """Take this interval's sweep; False: another process has."""
        return bool(await self._fetch("claim_sweep", self._config.sweep_interval))


def _array(values: Iterable[object]) -> str:
    """Spell ids or numbers as PostgreSQL writes an array."""
    return f"{{{','.join(map(str, values))}}}"


def _as_uuid(value: UUID | str) -> UUID:
    """Read a session id as it comes from a form or a path: what is no UUID names no session."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise SessionNotFound from None
