"""The tables: migrated once, whole or not at all; checked at start-up; used by a role that may change nothing else."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

import aiosess
from aiosess._postgres import schema
from aiosess._postgres.database import Database
from aiosess._postgres.schema import VERSION, prepare
from aiosess.errors import SchemaMismatch, StoreUnavailable
from tests.postgres.test_revoke_all import fill
from tests.world.parts import make_database
from tests.world.site import Site, eventually, make_app, make_due, somebody_waits, visit

TABLES = {"aiosess_schema", "aiosess_sessions", "aiosess_logins"}

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

DAMAGES = {
    "sessions table": "drop table aiosess_sessions cascade",
    "logins table": "drop table aiosess_logins cascade",
    "version table": "drop table aiosess_schema",
    "version row": "delete from aiosess_schema",
    "trigger": "drop trigger aiosess_next_revision on aiosess_sessions",
    "disabled trigger": "alter table aiosess_sessions disable trigger aiosess_next_revision",
    "login function": "drop function aiosess_authenticate",
    "revoke function": "drop function aiosess_revoke_user",
}

MIGRATE = """
import asyncio, sys
from datetime import timedelta
from aiosess.config import SessionConfig
from aiosess._postgres.database import Database
from aiosess._postgres.schema import prepare

async def main():
    database = make_database(store_timeout=timedelta(seconds=60))
    await database.connect(sys.argv[1])
    await prepare(database, "public", migrate=True)
    await database.close()

asyncio.run(main())
"""


@pytest.fixture
async def empty(empty_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection to a database without tables."""
    connection = await asyncpg.connect(empty_dsn)
    yield connection
    await connection.close()


@asynccontextmanager
async def connected(dsn: str, **options: Any) -> AsyncIterator[Database]:
    """Return a database as an application has it."""
    database = make_database(**options)
    await database.connect(dsn)
    try:
        yield database
    finally:
        await database.close()


async def migrate(dsn: str, schema: str = "public") -> None:
    """Migrate as an application does when it starts."""
    async with connected(dsn) as database:
        await prepare(database, schema, migrate=True)


async def make_version(pg: asyncpg.Connection, version: int) -> None:
    """Make the tables as an older version of the library left them."""
    for each in range(1, version + 1):
        await pg.execute(schema._migration(each, "public"))
    await pg.execute("update aiosess_schema set version = $1", version)


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


async def is_alone(connection: asyncpg.Connection) -> bool:
    """Say whether nobody else is connected to the database."""
    others: int = await connection.fetchval(
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    return others == 0


async def use_everything(site: Site, admin: asyncpg.Connection, table: str = "aiosess_sessions") -> None:
    """Use each statement of the request path and of the store once."""
    browser = await site.browser()
    await browser.login("ada")
    await browser.post("/set/theme", json="dark")
    assert await browser.user() == "ada"
    await browser.post("/do/rotate")
    assert await browser.user() == "ada"
    if table == "aiosess_sessions":
        await make_due(admin)
        before = browser.token
        assert await browser.user() == "ada"  # mints
        assert browser.token != before
        assert await browser.user() == "ada"  # promotes
    await admin.execute(f"update {table} set last_active_at = now() - interval '1 hour'")  # noqa: S608 - the same
    assert await browser.user() == "ada"
    await site.installation.upkeep.flush()
    is_touched = f"select last_active_at > now() - interval '1 minute' from {table}"  # noqa: S608 - the same
    await eventually(lambda: admin.fetchval(is_touched))
    assert (await browser.post("/do/list_my_sessions")).status == 200
    other = await (await site.browser()).login("ada")
    assert (await browser.post("/do/logout_other")).status == 200
    assert await other.user() is None
    (session,) = await site.store.list_for_user("ada")
    await site.store.revoke(session.id)
    assert await browser.user() is None
    await browser.login("ada")
    assert await site.store.revoke_user("ada") == 1
    await browser.login("ada")
    assert (await browser.post("/do/logout")).status == 200
    await browser.login("ada")
    await admin.execute(f"update {table} set expires_at = now() - interval '1 day'")  # noqa: S608 - a name from a test
    assert await site.installation.endings.claim_sweep()
    assert await site.store.sweep() == 1
    assert await site.store.count() == 0


# The check at start-up


@pytest.mark.threat("DB-10")
async def test_absent_schema_is_said_at_start(empty_dsn: str) -> None:
    """Without tables and without leave to make them the application does not start, and says what to do."""
    with pytest.raises(SchemaMismatch, match=r"no aiosess tables.*schema_sql\(\) or set migrate=True"):
        async with visit(make_app(empty_dsn, migrate=False)):
            pass


@pytest.mark.threat("DB-10")
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("migrates", [True, False])
async def test_incomplete_schema_is_said_at_start(
    empty_dsn: str, empty: asyncpg.Connection, damage: str, *, migrates: bool
) -> None:
    """When a part of the schema is missing the application does not start, and makes nothing worse."""
    await migrate(empty_dsn)
    await empty.execute(DAMAGES[damage])
    before = await described(empty, "public")
    with pytest.raises(SchemaMismatch, match="incomplete"):
        async with visit(make_app(empty_dsn, migrate=migrates)):
            pass
    assert await described(empty, "public") == before


@pytest.mark.threat("DB-10")
@pytest.mark.parametrize("migrates", [True, False])
async def test_newer_schema_is_said_at_start(empty_dsn: str, empty: asyncpg.Connection, *, migrates: bool) -> None:
    """An application that is older than its tables does not start on them."""
    await migrate(empty_dsn)
    await empty.execute("update aiosess_schema set version = $1", VERSION + 1)
    with pytest.raises(SchemaMismatch, match=f"version {VERSION + 1}, newer than this aiosess .{VERSION}."):
        async with visit(make_app(empty_dsn, migrate=migrates)):
            pass


@pytest.mark.threat("DB-10")
async def test_older_schema_is_said_at_start(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """Without leave to migrate an application does not start on tables that are older than it."""
    await migrate(empty_dsn)
    await empty.execute("update aiosess_schema set version = $1", VERSION - 1)
    with pytest.raises(SchemaMismatch, match=f"version {VERSION - 1}, older"):
        async with visit(make_app(empty_dsn, migrate=False)):
            pass


@pytest.mark.threat("DB-10")
async def test_migration_makes_room_for_siblings(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """Of a row that kept retired tokens of earlier versions, and has not settled, version 4 keeps the last one."""
    await make_version(empty, 3)
    await fill(empty, 2)
    await empty.execute("""update aiosess_sessions set retired = '[["a", 1], ["b", 2]]'""")
    await empty.execute("update aiosess_sessions set settled_at = now() where user_id = 'user2'")
    await migrate(empty_dsn)
    rows = await empty.fetch("select user_id, retired::text from aiosess_sessions order by user_id")
    assert [tuple(each) for each in rows] == [("user1", '[["b", 2]]'), ("user2", '[["a", 1], ["b", 2]]')]


@pytest.mark.threat("DB-10")
async def test_migration_does_not_wait_behind_a_dump(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """A migration that a long reading holds up gives way to the requests behind it, and succeeds afterwards."""
    await make_version(empty, 3)
    async with connected(empty_dsn) as database:
        async with empty.transaction():
            await empty.execute("select from aiosess_sessions")
            migration = asyncio.create_task(prepare(database, "public", migrate=True))
            await somebody_waits(empty)
            assert await database.fetch("select count(*) from aiosess_sessions"), "waits behind it, and goes on"
            with pytest.raises(StoreUnavailable):
                await migration
        await prepare(database, "public", migrate=True)
        assert await database.fetch("select leased_often from aiosess_sessions") == []


@pytest.mark.threat("DB-15")
async def test_failed_start_leaves_nothing_behind(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """An application that refuses to start leaves no connection and no background task."""
    tasks = asyncio.all_tasks()
    with pytest.raises(SchemaMismatch):
        async with visit(make_app(empty_dsn, migrate=False)):
            pass
    await eventually(lambda: is_alone(empty))
    assert asyncio.all_tasks() == tasks


async def test_starting_again_changes_nothing(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """Migrating a schema that is up to date leaves it and its rows as they are."""
    async with visit(make_app(empty_dsn)) as site:
        browser = await (await site.browser()).login("ada")
        before = await described(empty, "public")
        async with visit(make_app(empty_dsn)) as other:
            assert await (await other.browser(browser.token)).user() == "ada"
    assert await described(empty, "public") == before


@pytest.mark.threat("DB-10")
async def test_schema_that_is_wrong_after_an_outage_is_said(
    server_dsn: str, empty_dsn: str, empty: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """When the server answers only after the start and its schema is wrong, the log says so until it is mended."""

    async def is_logged(text: str) -> bool:
        return text in caplog.text

    admin = await asyncpg.connect(server_dsn)
    name = urlsplit(empty_dsn).path[1:]
    await admin.execute(f'alter database "{name}" allow_connections false')
    with caplog.at_level(logging.WARNING, "aiosess"):
        async with visit(make_app(empty_dsn, migrate=False)) as site:
            await admin.execute(f'alter database "{name}" allow_connections true')
            await eventually(lambda: is_logged("no aiosess tables"))
            assert (await (await site.browser()).post("/login/ada")).status == 503
            await empty.execute(aiosess.schema_sql())
            await eventually(lambda: is_logged("sessions are available"))
            assert (await (await site.browser()).post("/login/ada")).status == 200
    await admin.close()


# Migrating


@pytest.mark.threat("DB-10")
async def test_ten_processes_migrate_at_once(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """Of ten processes that start at once one migrates, and all ten find the schema as it should be."""
    async with empty.transaction():
        await empty.execute("select pg_advisory_xact_lock($1)", 0x61696F73657373)
        processes = [
            await asyncio.create_subprocess_exec(sys.executable, "-W", "ignore", "-c", MIGRATE, empty_dsn)
            for _ in range(10)
        ]

        all_wait = """
            select count(*) = 10 from pg_locks join pg_stat_activity using (pid)
            where datname = current_database() and locktype = 'advisory' and not granted
        """
        await eventually(lambda: empty.fetchval(all_wait), within=60)
    assert [await process.wait() for process in processes] == [0] * 10
    assert await empty.fetchval("select version from aiosess_schema") == VERSION
    async with connected(empty_dsn) as database:
        await prepare(database, "public", migrate=False)


@pytest.mark.threat("DB-10")
@pytest.mark.parametrize("table", ["aiosess_schema", "aiosess_sessions", "aiosess_logins"])
async def test_migration_whose_backend_is_killed_has_done_nothing(
    empty_dsn: str, empty: asyncpg.Connection, table: str
) -> None:
    """A migration whose connection ends before one of its statements leaves nothing, and the next start migrates."""
    async with connected(empty_dsn) as database:
        transaction = empty.transaction()
        await transaction.start()
        await empty.execute(f"create table {table} ()")  # the migration waits for this name
        migration = asyncio.create_task(prepare(database, "public", migrate=True))
        for _ in range(2):  # the library tries once more
            await somebody_waits(empty)
            await empty.execute(
                """
                select pg_terminate_backend(pid, 5000) from pg_locks
                where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))
                """
            )
        with pytest.raises(StoreUnavailable):
            await migration
        await transaction.rollback()
    assert await tables(empty) == set()
    await migrate(empty_dsn)
    assert await tables(empty) == TABLES


@pytest.mark.threat("DB-10")
async def test_migration_whose_process_is_killed_has_done_nothing(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """A process that is killed with SIGKILL in the middle of migrating leaves nothing, and the next one migrates."""
    transaction = empty.transaction()
    await transaction.start()
    await empty.execute("create table aiosess_logins ()")
    process = await asyncio.create_subprocess_exec(sys.executable, "-W", "ignore", "-c", MIGRATE, empty_dsn)
    await somebody_waits(empty)
    process.kill()
    await process.wait()
    await transaction.rollback()
    await eventually(lambda: is_alone(empty))
    assert await tables(empty) == set()
    await migrate(empty_dsn)
    assert await tables(empty) == TABLES


@pytest.mark.parametrize("schema", ["public", "auth_data"])
async def test_schema_sql_makes_what_migrations_make(empty_dsn: str, empty: asyncpg.Connection, schema: str) -> None:
    """The SQL for a DBA gives the same catalogs as migrating, and an application starts on it."""
    await empty.execute(aiosess.schema_sql(schema))
    by_hand = await described(empty, schema)
    async with visit(make_app(empty_dsn, migrate=False, schema=schema)) as site:
        assert await (await (await site.browser()).login("ada")).user() == "ada"
    await empty.execute(f"drop schema {schema} cascade; create schema {schema}")
    await migrate(empty_dsn, schema)
    assert await described(empty, schema) == by_hand
    assert all(by_hand.values())
    assert await empty.fetchval(f"select version from {schema}.aiosess_schema") == VERSION  # noqa: S608 - a test's name


async def test_tables_live_in_a_schema_of_choice(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """With another schema everything works in it, the schema is made, and nothing is put into public."""
    async with visit(make_app(empty_dsn, schema="auth_data")) as site:
        await use_everything(site, empty, "auth_data.aiosess_sessions")
    schemas = await empty.fetch(
        "select distinct relnamespace::regnamespace::text from pg_class where relname ~ '^aiosess'"
    )
    assert [tuple(record) for record in schemas] == [("auth_data",)]


@pytest.mark.parametrize("schema", ["user", "select", "_", "a" * 63])
async def test_awkward_schema_names_are_quoted(empty_dsn: str, schema: str) -> None:
    """A reserved word and the longest name are names like others."""
    async with visit(make_app(empty_dsn, schema=schema)) as site:
        assert await (await (await site.browser()).login("ada")).user() == "ada"
        assert await site.store.count() == 1


async def test_two_schemas_are_two_worlds(empty_dsn: str) -> None:
    """Applications with one database and different schemas share no session, whatever else they share."""
    async with (
        visit(make_app(empty_dsn, schema="one")) as one,
        visit(make_app(empty_dsn, schema="two")) as two,
    ):
        browser = await (await one.browser()).login("ada")
        assert await (await two.browser(browser.token)).user() is None
        assert (await one.store.count(), await two.store.count()) == (1, 0)


# Roles and the search path


@pytest.fixture
async def role_dsn(empty_dsn: str, empty: asyncpg.Connection) -> AsyncIterator[str]:
    """Return the DSN of the empty database for a role that may do nothing but connect."""
    role, password = f"aiosess_test_{uuid4().hex[:12]}", uuid4().hex
    await empty.execute(f"create role {role} login password '{password}'")
    parts = urlsplit(empty_dsn)
    _, _, host = parts.netloc.rpartition("@")
    yield urlunsplit(parts._replace(netloc=f"{role}:{password}@{host}"))
    await empty.execute(f"drop owned by {role}; drop role {role}")


@pytest.mark.threat("DB-02")
@pytest.mark.parametrize("schema", ["public", "auth_data"])
@pytest.mark.parametrize("migrates", [True, False])
async def test_application_runs_with_table_rights_only(
    empty_dsn: str, role_dsn: str, empty: asyncpg.Connection, schema: str, *, migrates: bool
) -> None:
    """A role that may use the schema and select, insert, update and delete in its tables runs the application."""
    role = urlsplit(role_dsn).username
    await migrate(empty_dsn, schema)
    await empty.execute(
        f"""
        revoke all on schema public from public;
        grant usage on schema {schema} to {role};
        grant select, insert, update, delete on all tables in schema {schema} to {role}
        """
    )
    async with visit(make_app(role_dsn, schema=schema, migrate=migrates)) as site:
        await use_everything(site, empty, f"{schema}.aiosess_sessions" if schema != "public" else "aiosess_sessions")


@pytest.mark.threat("DB-02")
async def test_role_that_may_not_migrate_is_told(role_dsn: str, empty: asyncpg.Connection) -> None:
    """A role without the right to create tables does not start on an empty database, and says why."""
    await empty.execute("revoke create on schema public from public")
    with pytest.raises(SchemaMismatch, match=r"no aiosess tables.*with a role that may"):
        async with visit(make_app(role_dsn)):
            pass
    assert await tables(empty) == set()


@pytest.mark.threat("DB-03")
async def test_hostile_search_path_changes_nothing(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """Tables, functions and types of the same names that come first in the search path are never used."""
    await empty.execute(
        """
        create schema evil;
        create table evil.aiosess_sessions (id text, loot text);
        create table evil.aiosess_logins (user_id int);
        create table evil.aiosess_schema (version text);
        insert into evil.aiosess_schema values ('evil');
        create function evil.aiosess_authenticate(int) returns int language sql as 'select 1';
        create function evil.aiosess_next_revision() returns trigger language plpgsql as
            $$ begin raise 'evil'; end $$;
        create function evil.aiosess_revoke_user(for_user text, kept_id uuid) returns setof text
            language plpgsql as $$ begin raise 'evil'; end $$;
        """
    )
    await empty.execute(f'alter database "{urlsplit(empty_dsn).path[1:]}" set search_path = evil, public')
    before = await described(empty, "evil")
    async with visit(make_app(empty_dsn)) as site:
        await empty.execute("set search_path = public")
        await use_everything(site, empty)
    await empty.execute("set search_path = evil, public")
    assert await described(empty, "evil") == before
    assert await empty.fetchval("select count(*) from evil.aiosess_sessions") == 0
    assert await empty.fetchval("select count(*) from evil.aiosess_logins") == 0


@pytest.mark.threat("DB-03")
@pytest.mark.parametrize("path", ["pg_temp", "nowhere"])
async def test_search_path_without_us_is_enough(empty_dsn: str, empty: asyncpg.Connection, path: str) -> None:
    """The application needs nothing on its search path."""
    await empty.execute(f"""alter database "{urlsplit(empty_dsn).path[1:]}" set search_path = {path}""")
    async with visit(make_app(empty_dsn)) as site:
        await use_everything(site, empty)
