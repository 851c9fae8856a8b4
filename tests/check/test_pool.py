"""The checker's connections, the shutdown and the statement."""

import asyncio
import gc
from datetime import timedelta
from itertools import product
from typing import Any

import asyncpg
import pytest

from aiosess._postgres.schema import prepare
from aiosess._postgres.statements import statement
from aiosess._token.keys import Keyring
from aiosess._token.token import Token
from tests.check.room import Room, answered, make_room, until, user_of
from tests.world.app import SECRET, make_app
from tests.world.relay import relayed
from tests.world.site import visit

# Pools


async def test_one_connection_serves_checks_and_writes(dsn: str) -> None:
    """A pool of a single connection lets checks and writes go on together, none of them waiting for the other."""
    async with make_room(dsn, max_size=1) as room:
        tokens = await room.logins(10)

        async def work(token: Token) -> None:
            for number in range(10):
                assert user_of(await room.check(token)) is not None
                row = await room.rows.patch(token.session_id, f'{{"key": {number}}}')
                assert row is not None
                room.signals.changed.send(row)

        assert await answered(*(asyncio.create_task(work(token)) for token in tokens)) == [None] * 10


async def test_idle_checker_keeps_no_connection(room: Room) -> None:
    """When nobody asks, every connection is back in the pool."""
    token = await room.login()
    await room.ask_all(*[token] * 10)
    await until(lambda: room.pool.get_idle_size() == room.pool.get_size() and not room.checker._in_flight)


async def test_writes_get_their_turn_under_permanent_load(dsn: str) -> None:
    """With one connection and checks that never pause, writes are done before their deadline all the same."""
    async with make_room(dsn, max_size=1, store_timeout=timedelta(seconds=3)) as room:
        token = await room.login()
        done = False

        async def ask() -> None:
            while not done:
                assert user_of(await room.check(token)) == "ada"

        askers = [asyncio.create_task(ask()) for _ in range(10)]
        await until(lambda: room.checks > 10)
        for number in range(5):
            assert await room.rows.patch(token.session_id, f'{{"key": {number}}}') is not None
        done = True
        assert await answered(*askers) == [None] * 10
        assert room.checks > room.acquired[0], "no batch ever followed another: the test shows nothing"


# Shutdown


@pytest.mark.threat("DB-15")
@pytest.mark.parametrize("whose", ["its own pool", "the application's pool"])
async def test_shutdown_with_a_batch_in_flight_ends_clean(
    dsn: str, complaints: list[dict[str, Any]], whose: str
) -> None:
    """An application that ends while PostgreSQL hangs leaves no task and no complaint, and does not hang itself."""
    before = asyncio.all_tasks()
    deadline = timedelta(seconds=0.5)
    async with make_room(dsn) as direct, relayed(dsn) as relay, make_room(relay.dsn) as room:
        token = Keyring(SECRET).sign(await direct.login(), "aiosess")
        options = {"pool": room.pool} if whose == "the application's pool" else {}
        async with asyncio.timeout(20):
            async with visit(make_app(relay.dsn, store_timeout=deadline, **options), shutdown_timeout=0.05) as site:
                inner = site.installation.checker
                assert (await site.present(token)).user == "ada"
                relay.swallows = True
                asked = asyncio.create_task(site.present(token))
                await until(lambda: len(inner._in_flight) == 1)
            await answered(asked)
        await until(lambda: not inner._in_flight)
        await room.pool.expire_connections()
        relay.cut()
    await until(lambda: asyncio.all_tasks() <= before)
    del asked
    gc.collect()
    assert complaints == []


# The statement


async def test_check_uses_the_primary_key(empty_dsn: str) -> None:
    """With 50,000 rows the check is one look-up by primary key for each pair, whatever the planner knows of them."""
    async with make_room(empty_dsn) as room:
        await prepare(room.database, "public", migrate=True)
        await room.login()
        pg = await asyncpg.connect(empty_dsn)
        await pg.execute(
            """
            create temporary table copies as select one.* from aiosess_sessions one, generate_series(1, 50000);
            update copies set id = gen_random_uuid();
            insert into aiosess_sessions select * from copies
            """
        )
        ids = [str(record["id"]) for record in await pg.fetch("select id from aiosess_sessions limit 1000")]
        check = statement("check", "public")
        for preparation in ("select", "analyze aiosess_sessions"):
            await pg.execute(preparation)
            for mode, count in product(("force_generic_plan", "force_custom_plan"), (1, 1000)):
                await pg.execute(f"set plan_cache_mode = {mode}; prepare asked (uuid[], bigint[]) as {check}")
                pairs = f"'{{{','.join(ids[:count])}}}', '{{{','.join('0' * count)}}}'"
                plan = "\n".join(record[0] for record in await pg.fetch(f"explain execute asked ({pairs})"))
                assert "Index Scan using aiosess_sessions_pkey" in plan, (preparation, mode, count, plan)
                assert "Seq Scan" not in plan, (preparation, mode, count, plan)
                await pg.execute("deallocate asked")
        await pg.close()
