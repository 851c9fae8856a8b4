"""The parts of aiosess below a request, put together as an installation does, for tests of single parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from aiosess._check.checker import Checker
from aiosess._postgres.database import Database
from aiosess._postgres.endings import Endings
from aiosess._postgres.login import Logins
from aiosess._postgres.rows import Rows
from aiosess._postgres.statements import Statements
from aiosess._signals import Signals
from aiosess.config import SessionConfig
from aiosess.events import Event
from aiosess.store import SessionStore


@dataclass
class Parts:
    """What is made once per installation; ``happened`` has the events."""

    config: SessionConfig
    signals: Signals
    database: Database
    statements: Statements
    rows: Rows
    endings: Endings
    logins: Logins
    checker: Checker
    store: SessionStore
    happened: list[Event]


def make_parts(config: SessionConfig | None = None) -> Parts:
    """Put the parts together; the database is not connected yet."""
    config, signals, happened = config or SessionConfig(), Signals(), []
    signals.happened.connect(happened.append)
    database = Database(config, signals)
    statements = Statements(database, config.schema)
    rows, endings = Rows(statements, signals, config), Endings(statements, signals, config)
    return Parts(
        config=config,
        signals=signals,
        database=database,
        statements=statements,
        rows=rows,
        endings=endings,
        logins=Logins(database, statements, signals, config),
        checker=Checker(rows, database, signals, config),
        store=SessionStore(statements, endings),
        happened=happened,
    )


@asynccontextmanager
async def connected(source: str | asyncpg.Pool, config: SessionConfig | None = None) -> AsyncIterator[Parts]:
    """Give parts whose database is connected by a DSN, or uses a pool."""
    parts = make_parts(config)
    if isinstance(source, str):
        await parts.database.connect(source)
    else:
        parts.database.use(source)
    try:
        yield parts
    finally:
        await parts.database.close()


def unconnected(**options: Any) -> Database:
    """Return a database that is connected to nothing yet."""
    return Database(SessionConfig(**options), Signals())
