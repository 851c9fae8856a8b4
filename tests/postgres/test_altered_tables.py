"""Tables that a DBA has changed while connections were open: no statement depends on the shape of a table."""

import re
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from aiosess import _postgres
from aiosess._postgres.columns import column_names
from aiosess._postgres.statements import statement
from aiosess._row import Row
from tests.world.app import make_app
from tests.world.site import Site, visit
from tests.world.tables import migrate, use_everything

CHANGES = {
    "a nullable column": "alter table aiosess_sessions add column note text",
    "a column with a default": "alter table aiosess_sessions add column note text not null default 'none'",
    "a column with a default per row": "alter table aiosess_sessions add column at uuid default gen_random_uuid()",
    "columns named like variables": """
        alter table aiosess_sessions
            add column outcome text, add column session jsonb, add column cap int, add column others int,
            add column earlier_id uuid, add column new_id uuid, add column kept_id uuid, add column reached uuid,
            add column revoked_at timestamptz, add column is_live boolean, add column total int,
            add column settled_id text;
        alter table aiosess_logins
            add column for_user text, add column new_user_id text, add column user_revoked_at timestamptz;
        alter table aiosess_schema add column all_revoked_at timestamptz, add column earlier_at timestamptz
    """,
    "columns in another order": """
        alter table aiosess_sessions drop column ip;
        alter table aiosess_sessions drop column user_agent;
        alter table aiosess_sessions add column user_agent text not null, add column ip text;
        alter table aiosess_logins drop column seen_at;
        alter table aiosess_logins add column seen_at timestamptz not null default now();
        alter table aiosess_schema drop column swept_at;
        alter table aiosess_schema add column swept_at timestamptz not null default '-infinity'
    """,
    "shorter texts": """
        alter table aiosess_sessions
            alter column ip type varchar(64), alter column user_agent type varchar(1024),
            alter column device_name type varchar(200), alter column device_type type varchar(20),
            alter column fingerprint type varchar(64), alter column token_id type varchar(64),
            alter column parent_id type varchar(64), alter column holder type varchar(64),
            alter column promoted_by type varchar(64), alter column leased_to type varchar(64),
            alter column leased_for type varchar(64), alter column promoted_ip type varchar(64),
            alter column promoted_user_agent type varchar(1024);
        alter table aiosess_sessions alter column user_id type varchar(512) collate "C";
        alter table aiosess_logins alter column user_id type varchar(512) collate "C"
    """,
    "larger numbers": """
        alter table aiosess_sessions
            alter column version type bigint, alter column leased_often type bigint, alter column revision type numeric;
        alter table aiosess_schema alter column version type bigint, alter column compatible_from type bigint
    """,
}


SQL = sorted(Path(_postgres.__file__).parent.rglob("*.sql"))


@pytest.fixture
async def warm(empty_dsn: str, empty: asyncpg.Connection) -> AsyncIterator[Site]:
    """Run an application whose only connection keeps a plan of every statement, those inside functions included."""
    # By default PostgreSQL keeps a plan only after it has made five.
    name = urlsplit(empty_dsn).path[1:]
    await empty.execute(f'alter database "{name}" set plan_cache_mode = force_generic_plan')
    async with visit(make_app(empty_dsn, pool_size=1, max_sessions_per_user=2)) as site:
        for _ in range(2):
            await use_everything(site, empty)
        yield site


@pytest.mark.threat("DB-19")
@pytest.mark.parametrize("change", CHANGES)
async def test_open_connections_go_on(warm: Site, empty: asyncpg.Connection, change: str) -> None:
    """Every operation works on a connection that was in use before the tables changed."""
    before = await empty.fetch("select pid from pg_stat_activity where datname = current_database()")
    await empty.execute(CHANGES[change])
    await empty.execute("discard plans")  # of this connection, which moves the rows in time
    await use_everything(warm, empty)
    after = await empty.fetch("select pid from pg_stat_activity where datname = current_database()")
    assert before == after


@pytest.mark.threat("DB-19")
@pytest.mark.parametrize("change", CHANGES)
async def test_application_starts_on_changed_tables(empty_dsn: str, empty: asyncpg.Connection, change: str) -> None:
    """Every operation works in an application that starts after the tables changed."""
    async with visit(make_app(empty_dsn)):
        await empty.execute(CHANGES[change])
    async with visit(make_app(empty_dsn)) as site:
        await use_everything(site, empty)


@pytest.mark.threat("DB-19")
async def test_statements_keep_their_types(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """What a statement takes and returns has the same types whatever the types of the columns are."""

    async def signatures() -> dict[str, tuple[Any, Any]]:
        found = {}
        for path in SQL:
            if path.parent.name == "sql" and path.stem not in {"columns", "create_schema", "set_version"}:
                prepared = await empty.prepare(statement(path.stem, "public"))
                found[path.stem] = prepared.get_parameters(), prepared.get_attributes()
        return found

    await migrate(empty_dsn)
    before = await signatures()
    for change in ("shorter texts", "larger numbers"):
        await empty.execute(CHANGES[change])
    assert await signatures() == before


def test_columns_are_those_of_a_row() -> None:
    """The list of columns that statements read has the fields of Row, in their order."""
    assert column_names() == [field.name for field in fields(Row)]


@pytest.mark.parametrize("path", SQL, ids=lambda path: path.name)
def test_columns_are_named(path: Path) -> None:
    """No statement or function depends on the number or the order of a table's columns."""
    text = re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8"))
    assert not re.search(r"\w\.\*|select\s+\*|returning\s+\*|\brow\(|%rowtype", text)
    for listed in re.findall(r"insert\s+into\s+\S+(?:\s+as\s+\w+)?\s*(.)", text):
        assert listed == "(", "the columns of an INSERT"
    assert not re.search(r"\(\s*\w+\s+\{schema\}|setof\s+\{schema\}", text), (
        "a parameter or result of a table's row type"
    )
