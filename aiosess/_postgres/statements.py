"""The statements in ``sql/``: their texts, how they are run, and how their records become rows."""

import logging
from collections.abc import Hashable, Iterable
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from functools import cache
from time import monotonic
from typing import Any, Final, TypeVar, get_args

from aiosess._postgres.clock import Clock
from aiosess._postgres.columns import fill_in
from aiosess._postgres.connections import Connection
from aiosess._postgres.database import Database, Work
from aiosess._postgres.sql_files import read_sql
from aiosess._row import Row, retired_from_json
from aiosess.errors import StoreUnavailable
from aiosess.session import DeviceType

log = logging.getLogger("aiosess")

_COLUMNS: Final = [field.name for field in fields(Row)]
_RETIRED: Final = _COLUMNS.index("retired")
_DATA: Final = _COLUMNS.index("data")
_DEVICE_TYPE: Final = _COLUMNS.index("device_type")
_DEVICE_TYPES: Final = frozenset(get_args(DeviceType))
_CREATED_AT: Final = _COLUMNS.index("created_at")
_OFTEN_CREATED_AT: Final = [
    _COLUMNS.index(name) for name in ("promoted_at", "settled_at", "authenticated_at", "last_active_at")
]
_INSTANTS: Final = [index for index, each in enumerate(fields(Row)) if each.type in {datetime, datetime | None}]

T = TypeVar("T")

TELL_EVERY: Final = 60.0  # seconds

READS: Final = frozenset({"load", "list_for_user", "page_for_user", "tally", "count", "database_name"})
# These write many rows. Each other statement that writes has the id of its session or user as the first argument.
OF_MANY: Final = frozenset(
    {"touch", "sweep", "sweep_logins", "claim_sweep", "begin_revoke_all", "truncate_sessions", "revoke_before"}
)


class UnreadableRow(StoreUnavailable):
    """Somebody has written into a session's row by hand what aiosess cannot read; other rows are as good as before."""

    def __init__(self) -> None:
        """Say so, and name neither the session nor the value."""
        super().__init__("the session's row cannot be read")


@cache
def statement(name: str, schema: str) -> str:
    """Return the SQL of a file in ``sql/``."""
    return fill_in(read_sql(f"sql/{name}.sql", schema))


def array_text(values: Iterable[object]) -> str:
    """
    Spell ids, numbers, instants or names as PostgreSQL writes an array; "NULL" stands for nothing.

    For an argument that is an array asyncpg asks the catalog about the type, in SQL of its own. That SQL may call what
    another role has put on the search path. So arrays travel as text.
    """
    return f"{{{','.join(map(str, values))}}}"


def row_of(values: Iterable[Any]) -> Row:
    """
    Build a row from the columns of ``columns.sql``, in their order.

    Raises:
        UnreadableRow: a column holds what aiosess has not written; the log says so once a minute.

    """
    record = list(values)
    try:
        record[_RETIRED] = retired_from_json(record[_RETIRED])
        for index in _INSTANTS:
            _require_instant(record[index])
        _require_object(record[_DATA])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        tell_unreadable(error)
        raise UnreadableRow from None
    if record[_DEVICE_TYPE] not in _DEVICE_TYPES:  # a later release, which runs beside this one, may know more of them
        record[_DEVICE_TYPE] = "unknown"
    created_at = record[_CREATED_AT]
    for index in _OFTEN_CREATED_AT:  # one object for equal instants, because many rows are held
        if record[index] == created_at:
            record[index] = created_at
    return Row(*record)


def read_rows(records: Iterable[Iterable[Any]]) -> list[Row]:
    """Build rows, and leave out those that cannot be read."""
    rows = []
    for record in records:
        with suppress(UnreadableRow):
            rows.append(row_of(record))
    return rows


def _require_instant(value: datetime | None) -> None:
    if value is not None and value.tzinfo is None:
        message = "not within the years that Python knows"
        raise ValueError(message)


def _require_object(data: str | None) -> None:
    if data is None or not data.startswith("{"):
        message = "the data is no object"
        raise TypeError(message)


class _Unreadable:
    """Tells of unreadable rows, once a minute: a guarded session's row is read every second."""

    def __init__(self) -> None:
        self._tell_at = monotonic()

    def tell(self, error: Exception) -> None:
        """Log the kind of error; its text could repeat a value."""
        now = monotonic()
        if now >= self._tell_at:
            self._tell_at = now + TELL_EVERY
            log.error(
                "a session's row cannot be read (%s): somebody has changed it by hand; all others go on",
                type(error).__name__,
            )


tell_unreadable = _Unreadable().tell


def _what_it_writes(name: str, arguments: tuple[Any, ...]) -> Hashable | None:
    """Return the id of the session or user that a statement writes, or its name if it writes many; None: it reads."""
    if name in READS:
        return None
    row: Hashable = name if name in OF_MANY else arguments[0]
    return row


class Statements:
    """
    Runs the statements of one PostgreSQL schema by their names.

    Every method raises ``StoreUnavailable`` when PostgreSQL does not answer.
    """

    def __init__(self, database: Database, schema: str) -> None:
        """Use a database and the tables of one of its schemas."""
        self._database = database
        self._schema = schema

    @property
    def clock(self) -> Clock:
        """The database's clock."""
        return self._database.clock

    def text(self, name: str) -> str:
        """Return a statement's SQL."""
        return statement(name, self._schema)

    async def run(self, work: Work[T]) -> T:
        """Do something with a connection; see ``Database.run()``."""
        return await self._database.run(work)

    async def fetch(self, name: str, *arguments: object) -> list[Any]:
        """Run a statement and return its records."""
        return await self._database.fetch(self.text(name), *arguments, writes=_what_it_writes(name, arguments))

    async def fetch_timed(self, name: str, *arguments: object) -> list[Any]:
        """Run a statement whose records end with the database's time, and let the clock learn it."""
        records = await self.fetch(name, *arguments)
        self.learn_time(records)
        return records

    async def fetch_on(self, connection: Connection, name: str, *arguments: object) -> list[Any]:
        """Do the same as ``fetch_timed()`` on a connection that is taken already."""
        records: list[Any] = await connection.fetch(self.text(name), *arguments)
        self._database.outage.note_answer()  # the connection may stay in use for long after its answer
        self.learn_time(records)
        return records

    async def prepare_on(self, connection: Connection, name: str) -> None:
        """Prepare a statement unless the connection knows it, so that the next fetch sends it at once."""
        # There is no public way: the public prepare() makes a statement of its own, which fetch() does not find.
        await connection._get_statement(self.text(name), None)  # type: ignore[attr-defined]  # noqa: SLF001 - see above

    async def rows(self, name: str, *arguments: object, once: bool = False) -> list[Row]:
        """Run a statement that returns rows, each with the database's time behind it; ``once``: never twice."""
        writes = _what_it_writes(name, arguments)
        records = await self._database.fetch(self.text(name), *arguments, once=once, writes=writes)
        self.learn_time(records)
        return [row_of(record[:-1]) for record in records]

    def learn_time(self, records: list[Any]) -> None:
        """Let the clock learn the database's time, which is the last column of every record."""
        if records:
            self.clock.learn(records[0][-1])
