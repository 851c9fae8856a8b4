"""Other roles in the same database: what they put into a schema on the search path never runs as the application."""

from collections.abc import AsyncIterator
from importlib import resources
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from aiosess import SchemaMismatch, schema_sql
from aiosess._postgres.endings import USER_BATCH
from aiosess._postgres.statements import statement
from tests.world.ageing import age
from tests.world.app import make_app
from tests.world.databases import copy_session, logged_pool
from tests.world.site import Site, visit
from tests.world.tables import described, migrate, use_everything
from tests.world.traps import set_traps

# Statements of start-up and of the command line; they run here too, but not on the application's pool.
ELSEWHERE = {"columns", "create_schema", "set_version", "objects", "version", "database_name"}


@pytest.fixture
async def trapped(empty: asyncpg.Connection) -> asyncpg.Connection:
    """Set the traps, and return a connection that meets none of them."""
    await set_traps(empty)
    await empty.execute("set search_path = pg_catalog")
    return empty


async def use_the_rest(site: Site, admin: asyncpg.Connection) -> None:
    """Use what use_everything() leaves out: old secrets, eviction, and revoke_all() while somebody reads the table."""
    table = "public.aiosess_sessions"
    browser = await (await site.browser()).login("eve")
    old = browser.token
    assert old is not None
    await browser.run(lambda sessions: sessions.rotate())
    await age(admin, 3600, table=table)
    assert (await site.present(old)).user is None
    await (await site.browser()).login("alan")
    await copy_session(admin, "alan", USER_BATCH)
    assert await site.store.revoke_user("alan") == USER_BATCH + 1
    first = await (await site.browser()).login("grace")
    for _ in range(2):
        await (await site.browser()).login("grace")
    assert await first.user() is None
    async with admin.transaction():
        await admin.execute(f"lock table {table} in access share mode")
        await site.store.revoke_all()
    assert await site.store.count() == 0


@pytest.mark.threat("DB-03")
async def test_no_better_match_is_called(empty_dsn: str, trapped: asyncpg.Connection) -> None:
    """Functions and operators in public that fit our calls better than PostgreSQL's are never called."""
    async with (
        logged_pool(empty_dsn) as (pool, seen),
        visit(make_app("", pool=pool, max_sessions_per_user=2)) as site,
    ):
        await use_everything(site, trapped, "public.aiosess_sessions")
        await use_the_rest(site, trapped)
    names = {file.name.removesuffix(".sql") for file in resources.files("aiosess._postgres").joinpath("sql").iterdir()}
    unused = {name for name in names if statement(name, "public") not in seen}
    assert unused <= ELSEWHERE


@pytest.fixture
async def mallory(empty: asyncpg.Connection) -> AsyncIterator[str]:
    """Return the name of a role that may create objects in public, as every role may before PostgreSQL 15."""
    name = f"aiosess_test_{uuid4().hex[:12]}"
    await empty.execute(f"create role {name}; grant create on schema public to public")
    yield name
    await empty.execute(f"reassign owned by {name} to current_user; drop owned by {name}; drop role {name}")


TABLES = schema_sql().partition(";")[2]  # without the schema, which is there
FUNCTION = "create function aiosess_truncate_sessions() returns boolean language sql as 'select true'"
PLANTED = {
    "everything": (False, TABLES),
    "a table": (False, "create table aiosess_sessions (id uuid)"),
    "a function": (False, FUNCTION),
    "an overload": (True, FUNCTION.replace("()", "(text)")),
}


@pytest.mark.threat("DB-03")
@pytest.mark.parametrize("planted", PLANTED)
async def test_what_a_stranger_has_made_is_not_used(
    empty_dsn: str, empty: asyncpg.Connection, mallory: str, planted: str
) -> None:
    """An application does not start on tables or functions of another role, and names the role and the remedy."""
    is_made, sql = PLANTED[planted]
    if is_made:
        await migrate(empty_dsn)
    await empty.execute(f"set role {mallory}; {sql}; reset role")
    before = await described(empty, "public")
    with pytest.raises(SchemaMismatch, match=rf"'public'.*belong to the role '{mallory}'.*schema=…"):
        async with visit(make_app(empty_dsn)):
            pass
    assert await described(empty, "public") == before


OWNERS = {
    "of the database": "alter database {database} owner to {owner}",
    "of the schema": "alter schema public owner to {owner}",
    "who may be us": "grant {owner} to {us}",
    "who alone may make tables": "revoke create on schema public from public",
}


@pytest.mark.threat("DB-03")
@pytest.mark.parametrize("how", OWNERS)
async def test_owners_who_may_are_trusted(
    empty_dsn: str, empty: asyncpg.Connection, role_dsn: str, mallory: str, how: str
) -> None:
    """An application uses tables that another role has made for it, if that role could do worse or was allowed to."""
    us, database = urlsplit(role_dsn).username, urlsplit(empty_dsn).path[1:]
    await empty.execute(f"set role {mallory}; {TABLES}; reset role")
    await empty.execute(OWNERS[how].format(database=database, owner=mallory, us=us))
    await empty.execute(f"grant select, insert, update, delete on all tables in schema public to {us}")
    async with visit(make_app(role_dsn)) as site:
        await (await site.browser()).login("ada")
