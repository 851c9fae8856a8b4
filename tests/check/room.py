"""A checker without a web application, a view that stops its queries, and how tests wait for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import asyncpg
from uuid_utils.compat import uuid7

from aiosess._client.device import describe
from aiosess._postgres.login import Login
from aiosess._postgres.statements import statement
from aiosess._row import Row
from aiosess._token.token import Token, new_token
from aiosess.config import SessionConfig
from tests.world.parts import Parts, make_parts
from tests.world.waiting import eventually

NEVER = 3600.0  # seconds; no test lasts so long
LONG = 60.0  # seconds; only what hangs takes so long


@dataclass
class Room:
    """
    A checker, its store and its database as setup() puts them together.

    Attributes:
        pool: The pool that was handed in.
        statements: Every statement that went through the pool.
        acquired: How many connections were taken out of it; a list of one number.

    """

    parts: Parts
    pool: asyncpg.Pool
    statements: list[str]
    acquired: list[int]

    def __getattr__(self, name: str) -> Any:
        """Return one of the parts."""
        return getattr(self.parts, name)

    @property
    def checks(self) -> int:
        """How many queries the checker has made."""
        return self.statements.count(statement("check", self.parts.config.schema))

    @property
    def joined(self) -> int:
        """How many requests have joined the batch that is not sent yet."""
        waiting = self.checker._open_batch.batch
        return 0 if waiting is None else len(waiting.waiters)

    async def check(self, token: Token) -> Row | None:
        """Check a token; a check that never ends is an error."""
        async with asyncio.timeout(LONG):
            return await self.parts.checker.check(token)

    def ask(self, token: Token) -> asyncio.Task[Row | None]:
        """Check a token in the background, as a request does."""
        return asyncio.create_task(self.check(token))

    def ask_all(self, *tokens: Token) -> "asyncio.Future[list[Row | BaseException | None]]":
        """Check tokens in the background, all at once."""
        return asyncio.gather(*(self.check(token) for token in tokens), return_exceptions=True)

    async def login(self, user: str = "ada") -> Token:
        """Make a session."""
        token = new_token(uuid7(), 1, datetime.now(UTC) + timedelta(days=30))
        row = await self.parts.logins.authenticate(
            Login(
                token=token,
                user_id=user,
                ip=None,
                device=describe(None),
                data="{}",
                idle_timeout=timedelta(days=30),
                absolute_timeout=timedelta(days=90),
                remember=True,
                began=monotonic(),
                earlier_id=None,
            )
        )
        assert row is not None
        return token

    async def logins(self, count: int) -> list[Token]:
        """Make sessions of different users."""
        return [await self.login(f"user{number}") for number in range(count)]


@asynccontextmanager
async def make_room(dsn: str, *, max_size: int = 10, **options: Any) -> AsyncIterator[Room]:
    """Make a room for a while; options are those of SessionConfig."""
    statements: list[str] = []
    acquired = [0]

    async def listen(connection: asyncpg.Connection) -> None:
        connection.add_query_logger(lambda query: statements.append(query.query))

    async def count(_connection: object) -> None:
        acquired[0] += 1

    config = SessionConfig(**options)
    pool = await asyncpg.create_pool(dsn, min_size=0, max_size=max_size, init=listen, setup=count)
    parts = make_parts(config)
    parts.database.use(pool)
    room = Room(parts, pool, statements, acquired)
    try:
        yield room
    finally:
        try:
            async with asyncio.timeout(LONG):
                await asyncio.gather(*room.checker._in_flight, return_exceptions=True)
                await parts.database.close()
                await pool.close()
        finally:
            pool.terminate()


class Gate:
    """
    A schema in which the check stops in the middle, after it has taken its snapshot, while the gate is closed.

    So an answer can be made to arrive late. Only sessions of users whose name begins with "slow" are stopped.
    """

    VIEW = """
        drop schema if exists gated cascade;
        create schema gated;
        create view gated.aiosess_sessions as select * from public.aiosess_sessions
        where case when user_id like 'slow%' then pg_advisory_xact_lock_shared(1) is not null else true end
    """
    STOPPED = """
        from pg_locks join pg_database d on d.oid = database
        where datname = current_database() and locktype = 'advisory' and not granted
    """

    def __init__(self, pg: asyncpg.Connection) -> None:
        """Speak through a connection of one's own."""
        self.pg = pg

    async def close(self) -> None:
        """Stop every check from here on."""
        await self.pg.execute("select pg_advisory_lock(1)")

    async def open(self) -> None:
        """Let all of them go on."""
        await self.pg.execute("select pg_advisory_unlock(1)")

    async def stopped(self, count: int = 1) -> None:
        """Wait until so many checks stand before the gate."""
        await eventually(lambda: self.pg.fetchval(f"select count(*) = $1 {self.STOPPED}", count))

    async def end_stopped(self) -> None:
        """Terminate the connections that stand before the gate."""
        await self.pg.execute(f"select pg_terminate_backend(pid, 5000) {self.STOPPED}")


async def turn() -> None:
    """Let everybody run who can, once."""
    await asyncio.sleep(0)


async def end_elsewhere(pg: asyncpg.Connection, token: Token) -> None:
    """End a session behind the checker's back, as another process does."""
    assert await pg.execute("delete from aiosess_sessions where id = $1", token.session_id) == "DELETE 1"


async def _is(ask: Callable[[], bool]) -> bool:
    return ask()


async def until(ask: Callable[[], bool]) -> None:
    """Wait until something is so."""
    await eventually(ask)


async def answered(*tasks: "asyncio.Future[Any]") -> list[Any]:
    """Return what came of tasks; a task that never ends is an error."""
    async with asyncio.timeout(LONG):
        return await asyncio.gather(*tasks, return_exceptions=True)


def user_of(row: object) -> str | None:
    """Return whose row it is, None for nobody."""
    assert row is None or isinstance(row, Row), row
    return None if row is None else row.user_id
