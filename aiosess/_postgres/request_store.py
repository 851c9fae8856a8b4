"""
What only the request path asks of PostgreSQL: logins, checks, rotation, the session's data.

It runs its statements as ``store`` does. Every one is by primary key, but for the login, which looks at all rows of its
user.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

from aiosess import events
from aiosess._client.device import Device, client_digest, origin_of
from aiosess._postgres.database import Connection, Database
from aiosess._postgres.login_race import excused
from aiosess._postgres.store import Emit, SessionStore, carried_through, row_of, statement
from aiosess._row import Row
from aiosess._token.rotation import MAX_RETIRED, Meaning
from aiosess._token.token import Token
from aiosess.config import SessionConfig


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


class RequestStore(SessionStore):
    """What the request path asks of PostgreSQL; every statement is by primary key, but for the login."""

    def __init__(self, database: Database, config: SessionConfig, emit: Emit) -> None:
        """Speak through a database, and tell events."""
        super().__init__(database, config, emit)
        self._check = statement("check", config.schema)

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

    @carried_through
    async def authenticate(self, login: Login) -> Row | None:
        """
        Insert a session, end the request's earlier one, and evict what is over the cap, in one round trip.

        None means that the user's sessions were revoked after the login began.
        """
        config, device = self._config, login.device
        query = statement("authenticate", config.schema)

        async def insert(connection: Connection) -> list[Any]:
            # Right before the transaction begins: what the message takes to PostgreSQL is what a revocation can be
            # overlooked by, and a password check takes longer.
            began = timedelta(seconds=monotonic() - login.began)
            records: list[Any] = await connection.fetch(
                query,
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
                excused(login.user_id, login.began),
            )
            return records

        records = await self._database.run(insert)
        created = None
        for record in records:
            row, at = row_of(record[1:-1]), record[-1]
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

    @carried_through
    async def adopt(self, judged: Row, token: Token, meaning: Meaning, presenter: events.Origin) -> Row | None:
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
            client_digest(presenter.ip, presenter.user_agent),
            self._config.late_window,
            presenter.ip,
            presenter.user_agent,
        )
        if row is not None:
            at = self.clock.now()
            went_back = meaning is Meaning.AHEAD
            self._emit(events.WentBack.of(row, at) if went_back else events.Rotated.of(row, at, cause="automatic"))
        return row

    async def lease(self, judged: Row, token: Token, client: str, *, is_holder: bool) -> Row | None:
        """Take the right to mint a successor of a presented token, if the lease is free for this client."""
        config = self._config
        return await self._one(
            "lease",
            judged.id,
            judged.token_id,
            token.id,
            is_holder,
            config.rotation_overlap,
            config.late_window,
            client,
            judged.settled_at,
        )

    @carried_through
    async def rotate(
        self, presented: Token, fresh: Token, presenter: events.Origin, *, reauthenticated: bool
    ) -> Row | None:
        """Replace the session's secret, if the presented one still is its secret."""
        row = await self._one(
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
            self._emit(events.Rotated.of(row, self.clock.now(), cause=cause))
        return row

    async def patch(self, session_id: UUID, key: str, value: str) -> Row | None:
        """Set one key of the data to a JSON text; None: the session is gone, or the data would be too large."""
        return await self._one("patch", session_id, key, value, self._config.max_data_bytes)

    async def remove_key(self, session_id: UUID, key: str) -> Row | None:
        """Remove one key of the data; None: the session is gone."""
        return await self._one("remove_key", session_id, key)

    @carried_through
    async def refingerprint(self, judged: Row, fingerprint: str, presenter: events.Origin) -> Row | None:
        """Note another kind of browser; None: another request has."""
        row = await self._one("refingerprint", judged.id, judged.fingerprint, fingerprint)
        if row is not None:
            self._emit(events.FingerprintChanged.of(row, self.clock.now(), presenter=presenter))
        return row

    @carried_through
    async def end_reused(self, judged: Row, presenter: events.Origin) -> bool:
        """End a session that two parties use, if the row still is as it was judged."""
        records = await self._fetch("end_reused", judged.id, judged.token_id, judged.settled_at)
        self._learn_time(records)
        for *columns, ip, user_agent, _ in records:
            row = row_of(columns)
            other = origin_of(row.ip, row.user_agent) if user_agent is None else origin_of(ip, user_agent)
            self._end(events.ReuseDetected.of(row, self.clock.now(), presenter=presenter, other=other))
        return bool(records)

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


def _changed(records: Iterable[Any]) -> dict[UUID, Row | None]:
    """Read what ``check.sql`` returns: the rows that are not what was held, None for sessions that have ended."""
    return {record[0]: row_of(record[2:-1]) if record[1] else None for record in records}


def _array(values: Iterable[object]) -> str:
    """Spell ids or numbers as PostgreSQL writes an array."""
    return f"{{{','.join(map(str, values))}}}"
