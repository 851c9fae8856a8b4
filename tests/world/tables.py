"""Making the tables as an application does, describing them, and using every statement on them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

import aiosess
from aiosess._postgres.database import Database
from aiosess._postgres.schema import prepare
from tests.world.ageing import age
from tests.world.browser import Browser, firefox
from tests.world.parts import unconnected
from tests.world.site import Site
from tests.world.waiting import eventually

# A process that migrates: python -c MIGRATE DSN.
MIGRATE = """
import asyncio, sys
from datetime import timedelta
from aiosess.config import SessionConfig
from aiosess._postgres.database import Database
from aiosess._postgres.schema import prepare
from aiosess._signals import Signals

async def main():
    database = Database(SessionConfig(store_timeout=timedelta(seconds=60)), Signals())
    await database.connect(sys.argv[1])
    await prepare(database, "public", migrate=True)
    await database.close()

asyncio.run(main())
"""

# What migrations make, as the catalogs describe it; OIDs and the order of creation left out.
DESCRIPTION = {
    "columns": """
        select c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            pg_get_expr(d.adbin, d.adrelid), a.attcollation::regcollation::text
        from pg_class c join pg_attribute a on a.attrelid = c.oid left join pg_attrdef d
            on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relnamespace = $1::text::regnamespace and a.attnum > 0 order by 1, 2
    """,
    "relations": """
        select relname, relkind::text, relpersistence::text, reloptions from pg_class
        where relnamespace = $1::text::regnamespace order by 1
    """,
    "indexes": "select tablename, indexdef from pg_indexes where schemaname = $1 order by 1, 2",
    "constraints": """
        select conname, contype::text, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = $1::text::regnamespace order by 1
    """,
    "functions": """
        select proname, pg_get_functiondef(oid) from pg_proc
        where pronamespace = $1::text::regnamespace order by 1, 2
    """,
    "triggers": """
        select tgname, pg_get_triggerdef(t.oid), tgenabled::text from pg_trigger t
        join pg_class c on c.oid = t.tgrelid
        where c.relnamespace = $1::text::regnamespace and not tgisinternal order by 1
    """,
}


async def described(connection: asyncpg.Connection, schema: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return what is in a schema."""
    return {
        kind: [tuple(record) for record in await connection.fetch(query, schema)] for kind, query in DESCRIPTION.items()
    }


async def tables(connection: asyncpg.Connection) -> set[str]:
    """Return our tables, in whatever schema they are."""
    return {
        record["relname"]
        for record in await connection.fetch(
            "select relname from pg_class where relkind = 'r' and relname ~ '^aiosess'"
        )
    }


@asynccontextmanager
async def connected(dsn: str, **options: Any) -> AsyncIterator[Database]:
    """Return a database as an application has it."""
    database = unconnected(**options)
    await database.connect(dsn)
    try:
        yield database
    finally:
        await database.close()


async def migrate(dsn: str, schema: str = "public") -> None:
    """Migrate as an application does when it starts."""
    async with connected(dsn) as database:
        await prepare(database, schema, migrate=True)


async def use_everything(site: Site, admin: asyncpg.Connection, table: str = "aiosess_sessions") -> None:
    """Use each statement of the request path, of the upkeep and of the store, and see that it did its work."""
    browser = await (await site.browser()).login("ada")
    await _use_data(browser)
    await _rotate(site, browser, admin, table)
    await _end_reused(site, admin, table)
    await _touch(site, browser, admin, table)
    await _list(site, browser)
    await _revoke(site, browser)
    await browser.login("ada")
    await admin.execute(f"update {table} set expires_at = now() - interval '1 day'")  # noqa: S608 - a name from a test
    assert await browser.user() is None
    await admin.execute(f"update {table.replace('sessions', 'schema')} set swept_at = default")  # noqa: S608 - the same
    assert await site.installation.endings.claim_sweep()
    assert await site.store.sweep() == 1
    await browser.login("ada")
    await site.store.revoke_all()
    assert await browser.user() is None
    assert await site.store.count() == 0


async def _use_data(browser: Browser) -> None:
    await browser.post("/set/theme", json="dark")
    assert (await (await browser.get("/me")).json())["data"] == {"theme": "dark"}
    await browser.run(lambda sessions: sessions.remove_key("theme"))
    await browser.run(lambda sessions: sessions.update({"a": 1, "b": [None]}))
    assert await browser.run(lambda sessions: sessions.increment("a", by=2)) == 3
    assert (await (await browser.get("/me")).json())["data"] == {"a": 3, "b": [None]}


async def _rotate(site: Site, browser: Browser, admin: asyncpg.Connection, table: str) -> None:
    for path in ("/do/rotate", "/do/reauthenticated"):
        assert (await browser.post(path)).status == 200
        assert await browser.user() == "ada"
    await _make_due(admin, "true", table)
    before = browser.token
    assert await browser.user() == "ada"  # mints
    assert browser.token != before
    assert await browser.user() == "ada"  # promotes
    await age(admin, 61, table=table)
    assert await browser.user() == "ada"  # settles
    await site.installation.upkeep.flush()
    is_settled = f"select settled_at is not null from {table}"  # noqa: S608 - the same
    await eventually(lambda: admin.fetchval(is_settled))
    assert (await browser.get("/me", headers={"User-Agent": firefox()})).status == 200
    assert await admin.fetchval(f"select user_agent <> $1 from {table}", firefox())  # noqa: S608 - the same
    assert await browser.user() == "ada"


async def _make_due(admin: asyncpg.Connection, where: str, table: str) -> None:
    """Do as make_due() does, to whatever table."""
    await admin.execute(f"update {table} set settled_at = now() where {where}")  # noqa: S608 - the same
    await age(admin, 3600, where, table=table)


async def _end_reused(site: Site, admin: asyncpg.Connection, table: str) -> None:
    victim = await (await site.browser()).login("eve")
    old = victim.token
    assert old is not None
    await _make_due(admin, "user_id = 'eve'", table)
    for _ in range(3):  # mints, promotes, settles
        assert await victim.user() == "eve"
        await age(admin, 61, "user_id = 'eve'", table=table)
    await site.installation.upkeep.flush()
    await age(admin, 3600, "user_id = 'eve'", table=table)
    assert (await site.present(old)).user is None
    assert await victim.user() is None
    assert await site.store.list_for_user("eve") == []


async def _touch(site: Site, browser: Browser, admin: asyncpg.Connection, table: str) -> None:
    await admin.execute(f"update {table} set last_active_at = now() - interval '1 hour'")  # noqa: S608 - the same
    assert await browser.user() == "ada"
    await site.installation.upkeep.flush()
    is_touched = f"select last_active_at > now() - interval '1 minute' from {table}"  # noqa: S608 - the same
    await eventually(lambda: admin.fetchval(is_touched))


async def _list(site: Site, browser: Browser) -> None:
    other = await (await site.browser()).login("ada")
    assert len(await browser.run(lambda sessions: sessions.list_my_sessions())) == 2
    page = await browser.run(lambda sessions: sessions.page_my_sessions(limit=1))
    assert ([session.is_current for session in page.sessions], page.tally.total) == ([True], 2)
    assert (await browser.run(lambda sessions: sessions.find(page.sessions[0].id))).user_id == "ada"
    assert (await site.store.page_for_user("ada")).tally == (await site.store.tally(["ada"]))["ada"]
    assert await site.store.count() == 2
    assert (await browser.post("/do/logout_other")).status == 200
    assert await other.user() is None


async def _revoke(site: Site, browser: Browser) -> None:
    (session,) = await site.store.list_for_user("ada")
    await site.store.revoke(session.id)
    assert await browser.user() is None
    other = await (await site.browser()).login("ada")
    await browser.login("ada")
    mine = {each.id for each in await site.store.list_for_user("ada") if each.id != await _id_of(browser)}
    assert (await browser.post(f"/revoke/{mine.pop()}")).status == 200
    assert await other.user() is None
    assert await site.store.revoke_user("ada") == 1
    await browser.login("ada")
    assert (await browser.post("/do/logout_all")).status == 200
    await browser.login("ada")
    earlier = browser.token
    assert earlier is not None
    await browser.login("ada")  # replaces
    assert (await site.present(earlier)).user is None
    assert (await browser.post("/do/logout")).status == 200
    assert await site.store.count() == 0


async def _id_of(browser: Browser) -> Any:
    current = await browser.run(_current)
    assert current is not None
    return current.id


async def _current(sessions: aiosess.SessionManager) -> aiosess.Session | None:
    return sessions.current
