"""
Single sessions, as requests read and change them: checks, rotation, data, marks.

Every statement finds its rows by primary key. Saves are ``UPDATE … WHERE id = … AND live``, never an upsert: a slow
request cannot bring a revoked session back.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from aiosess import events
from aiosess._client.caller import client_digest, origin_of
from aiosess._postgres.carried_through import carried_through
from aiosess._postgres.connections import Connection
from aiosess._postgres.primary import NotPrimary
from aiosess._postgres.statements import Statements, UnreadableRow, array_text, row_of
from aiosess._row import Row
from aiosess._signals import Signals
from aiosess._token.rotation import MAX_RETIRED
from aiosess._token.token import Token
from aiosess.config import SessionConfig


class Ended(Enum):
    """How PostgreSQL has a session that has ended."""

    EXPIRED = "its time ran out, and no sweep has deleted it so far"
    DELETED = "somebody ended it, or a sweep deleted it after its time"


Changed = dict[UUID, Row | UnreadableRow | Ended]
Live = dict[UUID, Row | UnreadableRow | None]  # None: the session has ended


class Rows:
    """
    Reads and writes single rows; announces the rows that writes return, the ends that it makes or finds, and events.

    Every method raises ``StoreUnavailable`` when PostgreSQL does not answer.
    """

    def __init__(self, statements: Statements, signals: Signals, config: SessionConfig) -> None:
        """Run these statements, and announce by these signals."""
        self._statements = statements
        self._signals = signals
        self._config = config

    async def changed(self, ids: Iterable[UUID], revisions: Iterable[int]) -> Changed:
        """Return those of some (id, revision) pairs that PostgreSQL has otherwise, and how sessions have ended."""
        return _with_endings(
            await self._statements.run(lambda connection: _ask(self._statements, connection, ids, revisions))
        )

    async def changed_on(self, connection: Connection, ids: Iterable[UUID], revisions: Iterable[int]) -> Live:
        """Do the same on a connection that is taken already; raises ``NotPrimary`` if it leads to a standby."""
        return _changed(await _ask(self._statements, connection, ids, revisions))

    async def load(self, session_id: UUID) -> Row | None:
        """Return a live session's row."""
        rows = await self._statements.rows("load", session_id)
        return rows[0] if rows else None

    async def reload(self, session_id: UUID) -> Row | None:
        """Return the row of a session that was live, and announce it if the session has ended."""
        if (row := await self.load(session_id)) is None:
            self._signals.ended.send(session_id)
        return row

    @carried_through
    async def adopt(self, judged: Row, token: Token, presenter: events.Origin, *, went_back: bool) -> Row | None:
        """Make a presented token the current one, if the row still is as it was judged."""
        row = await self._write(
            "adopt",
            judged.id,
            token.version,
            token.id,
            token.parent_id,
            MAX_RETIRED,
            judged.token_id,
            judged.settled_at,
            client_digest(presenter.ip, presenter.user_agent),
            self._config.late_window.total_seconds(),
            presenter.ip,
            presenter.user_agent,
        )
        if row is not None:
            at = self._statements.clock.now()
            self._tell(events.WentBack.of(row, at) if went_back else events.Rotated.of(row, at, cause="automatic"))
        return row

    async def lease(self, judged: Row, token: Token, client: str, *, is_holder: bool) -> Row | None:
        """Take the right to mint a successor of a presented token, if the lease is free for this client."""
        config = self._config
        return await self._write(
            "lease",
            judged.id,
            judged.token_id,
            token.id,
            is_holder,
            config.rotation_overlap.total_seconds(),
            config.late_window.total_seconds(),
            client,
            judged.settled_at,
        )

    @carried_through
    async def rotate(
        self, presented: Token, fresh: Token, presenter: events.Origin, *, reauthenticated: bool
    ) -> Row | None:
        """Replace the session's secret, if the presented one still is its secret."""
        row = await self._write(
            "rotate",
            presented.session_id,
            presented.secret_hash,
            fresh.secret_hash,
            fresh.id,
            reauthenticated,
            client_digest(presenter.ip, presenter.user_agent),
            presenter.ip,
            presenter.user_agent,
        )
        if row is not None:
            cause = "reauthenticated" if reauthenticated else "requested"
            self._tell(events.Rotated.of(row, self._statements.clock.now(), cause=cause))
        return row

    async def patch(self, session_id: UUID, values: str) -> Row | None:
        """Set the keys of a JSON object; None: the session has ended, or the data would be too large."""
        return await self._write("patch", session_id, values, self._config.max_data_bytes)

    async def increment(self, session_id: UUID, key: str, by: int) -> Row | None:
        """Add to an int of the data; None: the session has ended, it is no int, or the data would be too large."""
        # If it were sent again after a lost answer, it could count twice.
        return await self._write("increment", session_id, key, by, self._config.max_data_bytes, once=True)

    async def remove_key(self, session_id: UUID, key: str) -> Row | None:
        """Remove one key of the data; None: the session has ended."""
        return await self._write("remove_key", session_id, key)

    @carried_through
    async def refingerprint(self, judged: Row, fingerprint: str, presenter: events.Origin) -> Row | None:
        """Note another kind of browser; None: another request has."""
        row = await self._write("refingerprint", judged.id, judged.fingerprint, fingerprint)
        if row is not None:
            self._tell(events.FingerprintChanged.of(row, self._statements.clock.now(), presenter=presenter))
        return row

    @carried_through
    async def end_reused(self, judged: Row, presenter: events.Origin) -> bool:
        """End a session that two parties use, if the row still is as it was judged."""
        records = await self._statements.fetch_timed("end_reused", judged.id, judged.token_id, judged.settled_at)
        at = self._statements.clock.now()
        for *columns, ip, user_agent, _ in records:
            row = row_of(columns)
            other = origin_of(row.ip, row.user_agent) if user_agent is None else origin_of(ip, user_agent)
            self._signals.tell_end(events.ReuseDetected.of(row, at, presenter=presenter, other=other))
        return bool(records)

    @carried_through
    async def tell_outdated(self, judged: Row, presenter: events.Origin) -> None:
        """Tell that an old secret was presented, unless another request has told of it."""
        row = await self._write("tell_outdated", judged.id, judged.secret_replaced_at)
        if row is not None:
            self._tell(events.OldSecretPresented.of(row, self._statements.clock.now(), presenter=presenter))

    async def touch(self, session_ids: Iterable[UUID], marks: Iterable[tuple[datetime, bool, str | None]]) -> None:
        """Note that many sessions were presented: when, whether it was activity, and the token that has settled."""
        times, activities, settled = zip(*marks, strict=True)
        settled = tuple(token_id or "NULL" for token_id in settled)
        await self._statements.fetch("touch", *map(array_text, (session_ids, times, activities, settled)))

    async def _write(self, name: str, *arguments: object, once: bool = False) -> Row | None:
        """Run a statement that changes one row, and announce the row as it is now."""
        rows = await self._statements.rows(name, *arguments, once=once)
        if not rows:
            return None
        self._signals.changed.send(rows[0])
        return rows[0]

    def _tell(self, event: events.Event) -> None:
        self._signals.happened.send(event)


async def _ask(
    statements: Statements, connection: Connection, ids: Iterable[UUID], revisions: Iterable[int]
) -> list[Any]:
    records = await statements.fetch_on(connection, "check", array_text(ids), array_text(revisions))
    if records and records[0][0]:  # a pooler may hide what the server says when it is connected to
        raise NotPrimary
    return records


def _changed(records: Iterable[Any]) -> Live:
    """
    Read the records of ``check.sql``: rows that differ from the held ones, None for sessions that have ended.

    A row that cannot be read stands there as an error, so that it fails for its own session only.
    """
    changed = {}
    for _, session_id, is_live, *columns, _ in records:
        changed[session_id] = _read(columns) if is_live else None
    return changed


def _with_endings(records: list[Any]) -> Changed:
    how = {None: Ended.DELETED, False: Ended.EXPIRED}
    return {record[1]: _read(record[3:-1]) if record[2] else how[record[2]] for record in records}


def _read(columns: Iterable[Any]) -> Row | UnreadableRow:
    try:
        return row_of(columns)
    except UnreadableRow as error:
        return error
