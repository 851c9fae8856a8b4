"""Servers and pools that aiosess cannot work with are refused when the application starts, by name, with the remedy."""

import asyncio
import logging
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from aiosess import ConfigError, SchemaMismatch
from aiosess._postgres.schema.fitness import OLDEST, misfit_of_server
from tests.world.app import make_app
from tests.world.databases import session_count
from tests.world.site import visit
from tests.world.tables import migrate, tables

STRICTER = ("repeatable read", "serializable")


async def refuse(message: str, dsn: str, **options: Any) -> None:
    """See that an application does not start, because of this."""
    with pytest.raises(ConfigError, match=message):
        async with visit(make_app(dsn, **options)):
            pass


@pytest.mark.threat("DB-18")
@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("uuid", {"encoder": str, "decoder": str}),
        ("int8", {"encoder": str, "decoder": str}),
        ("timestamptz", {"encoder": lambda instant: instant.isoformat(), "decoder": str}),
        ("bytea", {"encoder": lambda content: f"\\x{content.hex()}", "decoder": str}),
        ("bool", {"encoder": lambda value: "t" if value else "f", "decoder": str}),
        ("uuid", {"encoder": lambda value: value, "decoder": str}),  # which cannot even be sent
        ("text", {"encoder": lambda text: text.upper(), "decoder": str}),
    ],
)
async def test_pool_with_codecs_of_its_own(dsn: str, pg: asyncpg.Connection, kind: str, codec: dict[str, Any]) -> None:
    """A pool that gives other values than asyncpg is refused with the type's name, before a row is made."""

    async def set_codec(connection: asyncpg.Connection) -> None:
        await connection.set_type_codec(kind, schema="pg_catalog", **codec)

    name = {"int8": "bigint", "bool": "boolean"}.get(kind, kind)
    async with asyncpg.create_pool(dsn, min_size=0, init=set_codec) as pool:
        await refuse(rf"^pool: it has codecs for {name} that.*dsn=…", "", pool=pool)
    assert await session_count(pg) == 0


@pytest.mark.threat("DB-18")
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_database_in_another_encoding(server_dsn: str, pg: asyncpg.Connection, encoding: str) -> None:
    """A database that cannot hold every text is refused, and gets no tables."""
    name = f"aiosess_test_{encoding.lower()}"
    options = f"encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0"
    await pg.execute(f"drop database if exists {name}")
    await pg.execute(f"create database {name} {options}")
    dsn = urlunsplit(urlsplit(server_dsn)._replace(path=f"/{name}"))
    try:
        await refuse(f"^dsn: the database's encoding is {encoding}.*UTF8", dsn)
        connection = await asyncpg.connect(dsn)
        assert await tables(connection) == set()
        await connection.close()
    finally:
        await pg.execute(f"drop database {name} with (force)")


@pytest.mark.threat("DB-18")
@pytest.mark.parametrize("version", [90_600, 140_020, OLDEST * 10_000 - 1])
def test_old_server(version: int) -> None:
    """A server older than any that the tests run on is refused."""
    assert f"needs {OLDEST} or later" in str(misfit_of_server(version, "UTF8"))
    assert misfit_of_server(OLDEST * 10_000, "UTF8") is None


@pytest.mark.threat("DB-03")
@pytest.mark.parametrize("path", ["public, pg_catalog", "nowhere, public, pg_catalog"])
async def test_search_path_that_hides_pg_catalog(empty_dsn: str, empty: asyncpg.Connection, path: str) -> None:
    """Where a schema comes before PostgreSQL's own functions, the application does not start."""
    await empty.execute(f"""alter database "{urlsplit(empty_dsn).path[1:]}" set search_path = {path}""")
    await refuse("^dsn: the search_path has 'public' before pg_catalog", empty_dsn)
    assert await tables(empty) == set()


@pytest.mark.threat("DB-16")
@pytest.mark.parametrize("isolation", STRICTER)
async def test_pool_with_a_stricter_isolation(dsn: str, isolation: str) -> None:
    """Under a snapshot a login overlooks a revocation: an application's pool that has one by default is refused."""
    settings = {"default_transaction_isolation": isolation}
    async with asyncpg.create_pool(dsn, min_size=0, server_settings=settings) as pool:
        await refuse(rf"^pool: the default isolation of its transactions is {isolation}", "", pool=pool)


@pytest.mark.threat("DB-16")
@pytest.mark.parametrize("isolation", STRICTER)
async def test_role_with_a_stricter_isolation(empty_dsn: str, empty: asyncpg.Connection, isolation: str) -> None:
    """On our own pool the database's default does not count: bursts of writes to one row all succeed."""
    database = urlsplit(empty_dsn).path[1:]
    await empty.execute(f"""alter database "{database}" set default_transaction_isolation = '{isolation}'""")
    async with visit(make_app(empty_dsn)) as site:
        browser = await (await site.browser()).login("ada")
        writes = [browser.post(f"/set/key{number}", json=number) for number in range(40)]
        others = [(await site.browser()).login("ada") for _ in range(8)]
        answers = await asyncio.gather(*writes)
        await asyncio.gather(*others)
        assert {answer.status for answer in answers} == {200}
        current = await site.installation.database.run(
            lambda connection: connection.fetchval("select current_setting('transaction_isolation')")
        )
        assert current == "read committed"


@pytest.mark.threat("DB-18")
@pytest.mark.parametrize(
    "dsn",
    [
        *("nonsense", "mysql://ada@host/site", "host=localhost dbname=site", "postgresql://[::1/site"),
        *("postgresql://ada:hunter2/x@host/site", "postgresql://host:hunter2/site", "postgresql://h/d?sslmode=hunter2"),
    ],
)
async def test_dsn_that_cannot_be_read(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """A DSN that asyncpg cannot read is a ConfigError; what may be the password stands nowhere."""
    await refuse("^dsn: the DSN is not valid", dsn)
    assert "hunter2" not in caplog.text


@pytest.mark.threat("DB-18")
@pytest.mark.parametrize(
    ("change", "words"),
    [({"path": "/nowhere"}, "the server does not have the DSN's database"), ({}, "refused the DSN's user or password")],
)
async def test_what_is_wrong_with_the_dsn_is_said(
    role_dsn: str, change: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong database or role is named in the log in plain words while the application waits for it."""
    parts = urlsplit(role_dsn)
    wrong = change or {"netloc": f"no_such_role@{parts.netloc.rpartition('@')[2]}"}
    async with visit(make_app(urlunsplit(parts._replace(**wrong)))):
        pass
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert any(words in each for each in said), said


# One schema, one audience


@pytest.mark.threat("DB-20")
async def test_another_audience_needs_another_schema(dsn: str) -> None:
    """The application of other users is refused where the tables are somebody's; those with the same audience start."""
    async with visit(make_app(dsn, audience="shop")) as site:
        browser = await (await site.browser()).login("1")
        with pytest.raises(
            SchemaMismatch, match=r"'public' hold the sessions of the audience 'shop', not 'staff'.*schema=…"
        ):
            async with visit(
                make_app(dsn, audience="staff", cookie_name="staff", secret="y" * 16 + "abcdefghijklmnopqrs")
            ):
                pass
        async with visit(make_app(dsn, audience="shop")) as other:
            assert await (await other.browser(browser.token)).user() == "1"


@pytest.mark.threat("DB-20")
async def test_one_of_two_that_start_at_once_is_refused(empty_dsn: str) -> None:
    """If two applications of different users start at the same time, the tables go to one of them."""
    await migrate(empty_dsn)

    async def start(audience: str) -> bool:
        try:
            async with visit(make_app(empty_dsn, audience=audience)):
                return True
        except SchemaMismatch:
            return False

    assert sorted(await asyncio.gather(*(start(audience) for audience in "ab" * 3))) == [False] * 3 + [True] * 3
