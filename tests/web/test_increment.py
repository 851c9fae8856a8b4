"""SessionManager.increment(): PostgreSQL counts."""

import asyncio
import json

import asyncpg
import pytest

import aiosess
from aiosess import SessionManager
from tests.web.jobs import Value, job
from tests.world.app import make_app
from tests.world.browser import Browser
from tests.world.site import visit


async def data_of(pg: asyncpg.Connection) -> Value:
    """Return the data of the one row."""
    return json.loads(await pg.fetchval("select data::text from aiosess_sessions"))


async def test_increment_returns_the_sum(alice: Browser, pg: asyncpg.Connection) -> None:
    """An absent key counts from 0; the sum is an int, returned, in the request's data and in the row."""

    async def count(sessions: SessionManager) -> Value:
        sums = [await sessions.increment("n", by) for by in (1, 1, -5, 2**63 - 1, 2**63 - 1, 0)]
        return sums, sessions.get("n", int)

    last = 2 * (2**63 - 1) - 3
    assert await alice.run(count) == ([1, 2, -3, 2**63 - 4, last, last], last)
    assert await alice.run(lambda s: s.increment("m")) == 1
    assert await data_of(pg) == {"n": last, "m": 1}
    await alice.run(lambda s: s.set("n", 10**400))
    assert await alice.run(lambda s: s.increment("n")) == 10**400 + 1


@pytest.mark.parametrize("value", ["1", 1.0, 0.5, True, None, [1], {"a": 1}], ids=repr)
async def test_increment_of_no_int_is_refused(value: Value, alice: Browser, pg: asyncpg.Connection) -> None:
    """What is no int stays as it is, and the error says so."""
    await alice.run(lambda s: s.set("key", value))
    with pytest.raises(aiosess.InvalidData, match="no int"):
        await alice.run(lambda s: s.increment("key"))
    assert await data_of(pg) == {"key": value}
    assert await alice.run(job(lambda s: s.get("key"))) == value


@pytest.mark.threat("DB-07")
@pytest.mark.parametrize(("key", "by"), [("k", 1.0), ("k", True), ("k", 2**63), ("k", "1"), ("k\0", 1), (1, 1)])
async def test_odd_increments_are_refused(key: Value, by: Value, alice: Browser, pg: asyncpg.Connection) -> None:
    """A key that no value can have, or a step that is no int of 64 bits, changes nothing."""
    with pytest.raises(aiosess.InvalidData):
        await alice.run(lambda s: s.increment(key, by))
    assert await data_of(pg) == {}


@pytest.mark.threat("DOS-01")
async def test_increment_keeps_the_cap(alice: Browser, pg: asyncpg.Connection) -> None:
    """A new counter that does not fit is refused, by its length and not for its kind."""
    room = 16 * 1024 - len('{"a": ""}')
    await alice.run(lambda s: s.set("a", "x" * room))
    with pytest.raises(aiosess.InvalidData, match="max_data_bytes"):
        await alice.run(lambda s: s.increment("n"))
    assert list(await data_of(pg)) == ["a"]


@pytest.mark.threat("SES-12")
async def test_increments_at_the_same_time_all_count(dsn: str, pg: asyncpg.Connection) -> None:
    """Twenty requests on two installations that all read 0 first count to twenty, and each gets a sum of its own."""
    together = asyncio.Barrier(20)

    async def count(sessions: SessionManager) -> int:
        assert sessions.get("n", int, default=0) == 0
        await together.wait()
        return await sessions.increment("n")

    async with visit(make_app(dsn)) as here, visit(make_app(dsn)) as there:
        token = await here.login("ada")
        tabs = [await site.browser(token) for site in (here, there) for _ in range(10)]
        sums = await asyncio.gather(*(tab.run(count) for tab in tabs))
    assert sorted(sums) == list(range(1, 21))
    assert await data_of(pg) == {"n": 20}


async def test_increment_before_it_is_sent_is_tried_again(alice: Browser, pg: asyncpg.Connection) -> None:
    """A transaction that PostgreSQL rolled back has not counted: it is run once more."""
    await pg.execute(
        "create sequence tries; create function fail() returns trigger language plpgsql as $$ begin "
        "if nextval('tries') = 1 then raise serialization_failure; end if; return new; end $$; "
        "create trigger fail before update of data on aiosess_sessions for each row execute function fail()"
    )
    assert await alice.run(lambda s: s.increment("n")) == 1
    assert await pg.fetchval("select last_value from tries") == 2
