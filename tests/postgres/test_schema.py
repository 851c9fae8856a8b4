"""The tables: migrated once, whole or not at all; checked at start-up; used by a role that may change nothing else."""

import asyncio
import logging
import sys
from urllib.parse import urlsplit

import asyncpg
import pytest

import aiosess
from aiosess._postgres.schema import VERSION, prepare
from aiosess.errors import SchemaMismatch, StoreUnavailable
from tests.world.app import make_app
from tests.world.site import visit
from tests.world.tables import MIGRATE, connected, described, migrate, tables, use_everything
from tests.world.waiting import eventually, somebody_waits

TABLES = {"aiosess_schema", "aiosess_sessions", "aiosess_logins"}

DAMAGES = {
    "sessions table": "drop table aiosess_sessions cascade",
    "logins table": "drop table aiosess_logins cascade",
    "version table": "drop table aiosess_schema",
    "version row": "delete from aiosess_schema",
    "column": "alter table aiosess_sessions drop column is_presented",
    "nullable column": "alter table aiosess_sessions drop column secret_replaced_at",
    "trigger": "drop trigger aiosess_next_revision on aiosess_sessions",
    "disabled trigger": "alter table aiosess_sessions disable trigger aiosess_next_revision",
    "login function": "drop function aiosess_authenticate",
    "revoke function": "drop function aiosess_revoke_user",
}


async def is_alone(connection: asyncpg.Connection) -> bool:
    """Say whether nobody else is connected to the database."""
    others: int = await connection.fetchval(
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    return others == 0


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
    """An application that is too old for its tables does not start on them, even when a function has gone meanwhile."""
    await migrate(empty_dsn)
    await empty.execute("drop function aiosess_truncate_sessions")
    await empty.execute("update aiosess_schema set version = $1, compatible_from = $1", VERSION + 1)
    wanted = (
        f"version {VERSION + 1}, newer than this aiosess can use .{VERSION}; they need {VERSION + 1} or later.*update"
    )
    with pytest.raises(SchemaMismatch, match=wanted):
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
            select count(*) = 10 from pg_locks join pg_database d on d.oid = database
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
