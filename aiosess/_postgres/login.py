"""Sign-ins: one statement that makes a session, ends the request's earlier one and evicts what is over the cap."""

from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from aiosess import events
from aiosess._client.device import Device
from aiosess._postgres.carried_through import carried_through
from aiosess._postgres.connections import Connection
from aiosess._postgres.database import Database
from aiosess._postgres.login_race import excused
from aiosess._postgres.statements import Statements, UnreadableRow, array_text, row_of
from aiosess._row import Row
from aiosess._signals import Signals
from aiosess._token.token import Token
from aiosess.config import SessionConfig


@dataclass(frozen=True, slots=True)
class Login:
    """The values that a new session starts with."""

    token: Token
    user_id: str = field(repr=False)
    ip: str | None = field(repr=False)
    device: Device
    data: str = field(repr=False)
    idle_timeout: timedelta
    absolute_timeout: timedelta
    remember: bool
    began: float  # when its request was received, by the monotonic clock
    earlier_id: UUID | None = field(repr=False)  # the request's session, which ends
    # A session of which the request brought a token that was not accepted; it ends if it is this user's.
    presented_id: UUID | None = field(default=None, repr=False)


class Logins:
    """Signs users in, and announces what follows."""

    def __init__(self, database: Database, statements: Statements, signals: Signals, config: SessionConfig) -> None:
        """Run the statement on this database, and announce by these signals."""
        self._database = database
        self._statements = statements
        self._signals = signals
        self._config = config

    @carried_through
    async def authenticate(self, login: Login) -> Row | None:
        """
        Insert a session, end the request's earlier one, and evict what is over the cap, in one round trip.

        None means that the user's sessions were revoked after the login began.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.

        """
        records = await self._database.run(lambda connection: self._insert(connection, login), writes=login.user_id)
        created = None
        for record in records:
            try:
                row, at = row_of(record[1:-1]), record[-1]
            except UnreadableRow:  # one that was replaced or evicted
                self._signals.ended.send(record[1])
                continue
            if record["outcome"] == "replaced":
                self._signals.tell_end(events.Revoked.of(row, at, reason="login"))
            elif record["outcome"] == "evicted":
                self._signals.tell_end(events.Evicted.of(row, at))
            else:
                created = row
                self._signals.changed.send(row)
                self._signals.happened.send(events.Created.of(row, at))
                if record["outcome"] == "created on a new device":
                    self._signals.happened.send(events.NewDevice.of(row, at))
        return created

    async def _insert(self, connection: Connection, login: Login) -> list[Any]:
        # On a new connection asyncpg first prepares the statement, which takes several round trips: before, the span
        # would be too short by that time, and a revocation acknowledged just before this call would be overlooked.
        await self._statements.prepare_on(connection, "authenticate")
        # Taken right before the transaction begins: a revocation is overlooked only while the message travels to
        # PostgreSQL, and a password check takes longer.
        began_ago = monotonic() - login.began
        device = login.device
        return await self._statements.fetch_on(
            connection,
            "authenticate",
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
            login.idle_timeout.total_seconds(),
            login.absolute_timeout.total_seconds(),
            login.remember,
            began_ago,
            login.earlier_id,
            login.presented_id,
            self._config.max_sessions_per_user,
            array_text(excused(login.user_id, login.began)),
        )
