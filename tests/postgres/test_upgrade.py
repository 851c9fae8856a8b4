"""Upgrades of the tables, by a newer library or by a DBA, and libraries and tables that do not fit."""

import asyncio
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import aiosess
from aiosess._postgres.schema import VERSION, prepare
from aiosess._postgres.schema.scripts import COMPATIBLE_FROM
from aiosess.errors import ConfigError, SchemaMismatch
from tests.world.app import make_app
from tests.world.serve import served
from tests.world.site import visit
from tests.world.tables import MIGRATE, connected, described, migrate, use_everything
from tests.world.waiting import somebody_waits
from tests.world.wire import COOKIE, Reply, Wire, request_bytes

NEWER = VERSION + 1

# What version 5, the last one before the first release, had made; what is inside its functions does not matter.
UNRELEASED = """
create table aiosess_schema (
    only_row boolean primary key default true check (only_row),
    version int not null,
    swept_at timestamptz not null default '-infinity',
    revoked_at timestamptz not null default '-infinity'
);
insert into aiosess_schema (version) values (5);
create table aiosess_sessions (
    id uuid primary key, user_id text collate "C" not null, secret_hash bytea not null, version int not null,
    token_id text collate "C" not null, parent_id text collate "C", promoted_at timestamptz not null,
    settled_at timestamptz, mint_until timestamptz, retired jsonb not null default '[]',
    revision bigint not null default 0, ip text, user_agent text not null, device_name text not null,
    device_type text not null, fingerprint text not null,
    data jsonb not null default '{}', authenticated_at timestamptz not null, created_at timestamptz not null,
    last_active_at timestamptz not null, expires_at timestamptz not null, ends_at timestamptz not null,
    idle_timeout interval not null, remember boolean not null, holder text, promoted_by text, holder_until timestamptz,
    leased_to text, leased_for text, leased_often int not null default 0, promoted_ip text, promoted_user_agent text
);
create table aiosess_logins (
    user_id text collate "C" primary key, seen_at timestamptz not null,
    revoked_at timestamptz not null default '-infinity', earlier_at timestamptz
);
create function aiosess_next_revision() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger aiosess_next_revision before update on aiosess_sessions
    for each row execute function aiosess_next_revision();
create function aiosess_authenticate(aiosess_sessions, interval, uuid, int, timestamptz[])
    returns table (outcome text, session aiosess_sessions) language plpgsql as $$ begin return; end $$;
create function aiosess_revoke_user(text, uuid)
    returns table (revoked_at timestamptz, earlier_at timestamptz, session aiosess_sessions)
    language plpgsql as $$ begin return; end $$;
create function aiosess_begin_revoke_all(out revoked_at timestamptz, out earlier_at timestamptz)
    language plpgsql as $$ begin return; end $$;
create function aiosess_truncate_sessions() returns boolean language plpgsql as $$ begin return true; end $$;
"""


@pytest.fixture
def newer_library(tmp_path: Path) -> Path:
    """Return a folder with this library as a next version may be: one column more, and another body of a function."""
    folder = Path(aiosess.__file__).parent
    package = shutil.copytree(folder, tmp_path / "aiosess", ignore=shutil.ignore_patterns("__pycache__"))
    schema = package / "_postgres" / "schema"
    for file, old, new in (
        ("scripts.py", f"VERSION: Final = {VERSION}  #", f"VERSION: Final = {NEWER}  #"),
        (
            "tables.sql",
            "    remember boolean not null,\n",
            "    remember boolean not null,\n    note text not null default '',\n",
        ),
        ("functions.sql", "    lock table", "    -- Version after this one.\n    lock table"),
    ):
        text = (schema / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, file
        (schema / file).write_text(text.replace(old, new), encoding="utf-8")
    (schema / f"upgrade_{NEWER:04}.sql").write_text(
        "-- A note on each session.\nalter table {schema}.aiosess_sessions add column note text not null default '';\n"
    )
    return tmp_path


async def run_newer(folder: Path, program: str, *arguments: str) -> tuple[int | None, str]:
    """Run a program with the newer library; return its exit code and its output."""
    # Its files are no files of ours: coverage would look for them after the test.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = (sys.executable, "-W", "ignore", "-c", program, *arguments)
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment, stdout=PIPE)
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def ask(port: int, target: str, token: str | None, method: str = "POST") -> Reply:
    """Send one request to a server process."""
    wire = await Wire.open(port)
    try:
        return await wire.ask(request_bytes(target, f"Cookie: {COOKIE}={token}".encode(), method=method))
    finally:
        await wire.close()


async def sign_in(port: int) -> str:
    """Sign in at a server process and return the token."""
    token = (await ask(port, "/login/ada", None)).token
    assert token
    return token


async def sign_out(port: int, token: str) -> None:
    """See a server process know who has a token, and sign out there."""
    assert (await ask(port, "/me", token, "GET")).user == "ada"
    assert (await ask(port, "/do/logout", token)).status == 200
    assert (await ask(port, "/me", token, "GET")).user is None


# A newer library


@pytest.mark.threat("DB-10")
async def test_newer_library_upgrades(empty_dsn: str, empty: asyncpg.Connection, newer_library: Path) -> None:
    """An upgrade changes the tables, replaces the functions and notes the version."""
    await migrate(empty_dsn)
    assert await run_newer(newer_library, MIGRATE, empty_dsn) == (0, "")
    versions = await empty.fetchrow("select version, compatible_from from aiosess_schema")
    assert tuple(versions) == (NEWER, COMPATIBLE_FROM)
    assert await empty.fetch("select note from aiosess_sessions") == []
    assert "Version after this one" in await empty.fetchval(
        "select prosrc from pg_proc where proname = 'aiosess_begin_revoke_all'"
    )


@pytest.mark.threat("DB-10")
@pytest.mark.parametrize("migrates", [True, False])
async def test_process_goes_on_and_restarts_on_newer_tables(
    empty_dsn: str, newer_library: Path, *, migrates: bool
) -> None:
    """When a newer library has upgraded the tables, a process of this one goes on, and one that restarts serves too."""
    await migrate(empty_dsn)
    async with served(empty_dsn, migrate=migrates) as (_, port):
        first, second = await sign_in(port), await sign_in(port)
        assert await run_newer(newer_library, MIGRATE, empty_dsn) == (0, "")
        await sign_out(port, first)
        await sign_out(port, await sign_in(port))
    async with served(empty_dsn, migrate=migrates) as (_, port):
        await sign_out(port, second)
        await sign_out(port, await sign_in(port))


@pytest.mark.threat("DB-10")
async def test_everything_works_on_newer_tables(empty_dsn: str, empty: asyncpg.Connection, newer_library: Path) -> None:
    """Each statement of the oldest library that may use the newer tables works there, and leaves them as they are."""
    # The first release is the oldest. When there is a later one, the oldest has to come from its wheel.
    assert COMPATIBLE_FROM == VERSION == 1
    await run_newer(newer_library, MIGRATE, empty_dsn)
    before = await described(empty, "public")
    async with visit(make_app(empty_dsn, max_sessions_per_user=2)) as site:
        await use_everything(site, empty)
    assert await described(empty, "public") == before
    assert await empty.fetchval("select version from aiosess_schema") == NEWER


@pytest.mark.threat("DB-10")
async def test_incomplete_newer_schema_is_said_at_start(
    empty_dsn: str, empty: asyncpg.Connection, newer_library: Path
) -> None:
    """Newer tables without a function that this library calls are incomplete."""
    await run_newer(newer_library, MIGRATE, empty_dsn)
    await empty.execute("drop function aiosess_authenticate")
    with pytest.raises(SchemaMismatch, match="incomplete"):
        await migrate(empty_dsn)


@pytest.mark.threat("DB-10")
async def test_upgrade_does_not_wait_behind_a_dump(
    empty_dsn: str, empty: asyncpg.Connection, newer_library: Path
) -> None:
    """An upgrade that a long reading holds up gives way to the requests behind it, and succeeds afterwards."""
    await migrate(empty_dsn)
    async with connected(empty_dsn) as database:
        async with empty.transaction():
            await empty.execute("select from aiosess_sessions")
            upgrade = asyncio.create_task(run_newer(newer_library, MIGRATE, empty_dsn))
            await somebody_waits(empty)
            assert await database.fetch("select count(*) from aiosess_sessions"), "waits behind it, and goes on"
            assert (await upgrade)[0] == 1
        assert await run_newer(newer_library, MIGRATE, empty_dsn) == (0, "")
        assert await database.fetch("select note from aiosess_sessions") == []


# By hand


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
    versions = await empty.fetchrow(f"select version, compatible_from from {schema}.aiosess_schema")  # noqa: S608 - a test's name
    assert tuple(versions) == (VERSION, COMPATIBLE_FROM)


@pytest.mark.parametrize("schema", ["public", "auth_data"])
async def test_upgrade_by_hand_makes_what_the_newer_library_makes(
    empty_dsn: str, empty: asyncpg.Connection, newer_library: Path, schema: str
) -> None:
    """The SQL since a version brings the tables where the newer library's migration brings them."""
    program = f"import aiosess; print(aiosess.schema_sql({schema!r}, since={VERSION}))"
    _, upgrade = await run_newer(newer_library, program)
    assert "create table" not in upgrade
    await migrate(empty_dsn, schema)
    await empty.execute(upgrade)
    by_hand = await described(empty, schema)
    assert await empty.fetchval(f"select version from {schema}.aiosess_schema") == NEWER  # noqa: S608 - a test's name
    await empty.execute(f"drop schema {schema} cascade; create schema {schema}")
    await migrate(empty_dsn, schema)
    assert await run_newer(newer_library, MIGRATE.replace('"public"', repr(schema)), empty_dsn) == (0, "")
    assert await described(empty, schema) == by_hand


async def test_upgrade_from_this_version_changes_nothing(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """The SQL since the present version holds the functions and the version only, and may run at any time."""
    await migrate(empty_dsn)
    before = await described(empty, "public")
    await empty.execute(aiosess.schema_sql(since=VERSION))
    assert await described(empty, "public") == before
    assert not re.search("(create|alter) table", aiosess.schema_sql(since=VERSION))


def test_schema_sql_has_each_part_once() -> None:
    """Each table, function, index and trigger is made once."""
    names = re.findall(
        r"^create (?:or replace )?(?:table|function|index|trigger) (\S+?)(?:\(|\s)", aiosess.schema_sql(), re.MULTILINE
    )
    assert len(names) == len(set(names)) == 10, names


@pytest.mark.parametrize("since", [0, VERSION + 1, -1, "1", "1\n", 1.0, True, [1]])
def test_version_that_cannot_be_upgraded_is_refused(since: Any) -> None:
    """What is no version that the library can upgrade from is an error that names the argument."""
    with pytest.raises(ConfigError, match=f"^since: must be a version of the tables, from 1 to {VERSION}$"):
        aiosess.schema_sql(since=since)


@pytest.mark.parametrize("since", [None, VERSION])
@pytest.mark.parametrize(
    "schema",
    [
        *("", "a b", 'a"; drop table users; --', "pg_catalog", "a" * 64, "Auth", "1a", "é", "a-b", "a\0", "{schema}"),
        *("auth\n", "\nauth", "au\nth", "auth\r\n", "auth\u2028", None, 1, b"auth", ["auth"], True),
    ],
)
def test_impossible_schema_is_refused(schema: Any, since: int | None) -> None:
    """A name that SessionConfig refuses gets no SQL either, of tables or of an upgrade."""
    with pytest.raises(ConfigError, match=r"^schema: "):
        aiosess.schema_sql(schema, since=since)


# Before the first release


@pytest.mark.threat("DB-10")
@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("migrates", [True, False])
async def test_unreleased_tables_are_refused(
    empty_dsn: str, empty: asyncpg.Connection, version: int, *, migrates: bool
) -> None:
    """Tables from before the first release are told from those of a release, and left as they are."""
    await empty.execute(UNRELEASED)
    await empty.execute("update aiosess_schema set version = $1", version)
    before = await described(empty, "public")
    async with connected(empty_dsn) as database:
        with pytest.raises(SchemaMismatch, match=r"before the first release.*drop all tables and functions"):
            await prepare(database, "public", migrate=migrates)
    assert await described(empty, "public") == before


async def test_advice_for_unreleased_tables_is_enough(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """When the tables and functions are dropped, as the error says, an application makes new ones and starts."""
    await empty.execute(UNRELEASED)
    await empty.execute(
        """
        drop table aiosess_schema, aiosess_sessions, aiosess_logins cascade;
        drop function aiosess_next_revision, aiosess_begin_revoke_all, aiosess_truncate_sessions
        """
    )
    async with visit(make_app(empty_dsn)) as site:
        assert await (await (await site.browser()).login("ada")).user() == "ada"
