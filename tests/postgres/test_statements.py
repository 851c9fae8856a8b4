"""The statements that rotation writes with, against what tests/world/statements.py says of them, and a few races."""

import asyncio
import json
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aiosess._postgres.statements import array_text, statement
from aiosess._row import Retired, Row, retired_from_json
from aiosess._token.rotation import MAX_RETIRED
from tests.world.app import make_app
from tests.world.site import visit
from tests.world.statements import CONFIG, Stored, adopted, lease, rotated
from tests.world.tables import connected
from tests.world.tokens import OTHER_HASH, ROW, SECRET_HASH, START, at, token
from tests.world.waiting import eventually, somebody_waits

one_database = settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLACE = "192.0.2.1", "Firefox"
DAY = timedelta(days=1)  # the idle timeout
LATE_WINDOW = CONFIG.late_window.total_seconds()
NEW_HASH = b"\x03" * 32
COLUMNS = [field.name for field in fields(Stored)]
INSERT = f"""
    insert into aiosess_sessions ({", ".join(COLUMNS)}, idle_timeout)
    values ({", ".join(f"${n}" for n in range(1, len(COLUMNS) + 1))}, interval '1 day')
"""  # noqa: S608 - the names are ours

# Up to the microsecond: time stands still in a transaction.
seconds = st.sampled_from([-3600, -600.000001, -600, -599, -1, -0.000001, 0, 0.000001, 1, 600])
instants = st.none() | seconds.map(at)
presentable = st.sampled_from(["current", "parent"])
differences = st.sampled_from(["", "", "", "token", "mark"])
clients = st.sampled_from(["one", "other"])
rows = st.builds(
    lambda **changes: replace(ROW, **changes),
    promoted_at=st.sampled_from([at(-1), at(-3600)]),
    settled_at=instants,
    mint_until=instants,
    is_presented=st.booleans(),
    secret_replaced_at=instants,
    holder=st.none() | clients,
    promoted_by=st.none() | clients,
    holder_until=instants,
    leased_to=st.none() | clients,
    leased_for=st.none() | presentable,
    leased_often=st.integers(0, 3),
    retired=st.lists(seconds, max_size=MAX_RETIRED + 1).map(
        lambda ages: tuple(Retired(f"retired{n}", at(age).timestamp()) for n, age in enumerate(ages))
    ),
    expires_at=st.sampled_from([START, at(0.000001), at(1), START + 2 * DAY]),
    ends_at=st.sampled_from([at(600), START + 2 * DAY, START + 3 * DAY]),
)


def later(value: Any, by: timedelta) -> Any:
    """Return an argument of a statement; instants in it are later by some time, and a list is spelled as an array."""
    if isinstance(value, list):
        return array_text("NULL" if each is None else later(each, by) for each in value)
    return value + by if isinstance(value, datetime) else value


def moved(row: Stored, by: timedelta) -> Stored:
    """Return a row whose instants are later by some time."""
    instants = {name: value + by for name in COLUMNS if isinstance(value := getattr(row, name), datetime)}
    retired = tuple(Retired(each.token_id, round(each.at + by.total_seconds(), 6)) for each in row.retired)
    return replace(row, **instants, retired=retired)


async def insert(pg: asyncpg.Connection, row: Stored) -> timedelta:
    """Insert a row as though now were the start; return how much later than the start now is."""
    by: timedelta = await pg.fetchval("select now()") - START
    before = moved(row, by)
    values = {column: getattr(before, column) for column in COLUMNS} | {"retired": json.dumps(before.retired)}
    await pg.execute(INSERT, *values.values())
    return by


async def run(pg: asyncpg.Connection, row: Stored, name: str, *arguments: Any) -> Stored | None:
    """Run a statement on a table of one row, at the start, and return the row that it leaves, if it leaves one."""
    transaction = pg.transaction()
    await transaction.start()
    try:
        by = await insert(pg, row)
        await pg.execute(statement(name, "public"), *(later(each, by) for each in arguments))
        record = await pg.fetchrow("select * from aiosess_sessions")
    finally:
        await transaction.rollback()
    if record is None:
        return None
    changed = {"retired": retired_from_json(record["retired"]), "revision": row.revision}  # which a trigger sets
    return moved(Stored(**{name: record[name] for name in COLUMNS} | changed), -by)


def is_live(row: Stored) -> bool:
    """Whether a row lives at the start."""
    return row.expires_at > START


def judged(row: Row, differs: str) -> tuple[str, datetime | None]:
    """Return token and settled mark of the row that was judged, which may differ from the one that is there now."""
    settled_at = at(1) if row.settled_at is None else None
    return "another" if differs == "token" else row.token_id, settled_at if differs == "mark" else row.settled_at


@pytest.mark.threat("ROT-02", "ROT-08")
@one_database
@given(row=rows, differs=differences, presented=presentable, is_holder=st.booleans())
@example(row=replace(ROW, holder_until=at(600)), differs="", presented="current", is_holder=False)
async def test_lease(pg: asyncpg.Connection, row: Stored, differs: str, presented: str, *, is_holder: bool) -> None:
    """The lease is taken if the row lives and is as it was judged, and is_lease_free() says so."""
    token_id, settled_at = judged(row, differs)
    times = CONFIG.rotation_overlap.total_seconds(), LATE_WINDOW
    after = await run(pg, row, "lease", row.id, token_id, presented, is_holder, *times, "other", settled_at)
    leased, is_taken = lease(row, START, presented, "other", is_holder=is_holder)
    assert after == (leased if is_taken and is_live(row) and not differs else row)


@pytest.mark.threat("ROT-04", "ROT-07")
@one_database
@given(row=rows, differs=differences, version=st.integers(ROW.version, ROW.version + 2), client=clients)
async def test_adopt(pg: asyncpg.Connection, row: Stored, differs: str, version: int, client: str) -> None:
    """A presented token becomes current if the row lives and is as it was judged."""
    presented = token("presented", version, "its parent")
    given = presented.version, presented.id, presented.parent_id, MAX_RETIRED
    after = await run(pg, row, "adopt", row.id, *given, *judged(row, differs), client, LATE_WINDOW, *PLACE)
    new = replace(adopted(row, presented, START, client), promoted_ip=PLACE[0], promoted_user_agent=PLACE[1])
    assert after == (new if is_live(row) and not differs else row)


@pytest.mark.threat("SES-02")
@one_database
@given(row=rows, had=st.sampled_from([SECRET_HASH, NEW_HASH, OTHER_HASH]), client=clients, proves=st.booleans())
async def test_rotate(pg: asyncpg.Connection, row: Stored, had: bytes, client: str, *, proves: bool) -> None:
    """The secret that was presented is replaced if the row lives, once more too; nothing of the old tokens stays."""
    row = replace(row, secret_hash=had, authenticated_at=at(-1))
    fresh = token("fresh", row.version + (had != NEW_HASH), None, NEW_HASH)
    after = await run(pg, row, "rotate", row.id, SECRET_HASH, NEW_HASH, fresh.id, proves, client, *PLACE)
    new = replace(rotated(row, fresh, START, client), promoted_ip=PLACE[0], promoted_user_agent=PLACE[1])
    if proves:
        new = replace(new, authenticated_at=START)
    assert after == (new if is_live(row) and had in {SECRET_HASH, NEW_HASH} else row)


@pytest.mark.threat("ROT-03", "ROT-07")
@one_database
@given(row=rows, settled=st.sampled_from(["current", "parent", None]), when=seconds)
@example(row=replace(ROW, is_presented=False), settled=None, when=600)
async def test_touch(pg: asyncpg.Connection, row: Stored, settled: str | None, when: float) -> None:
    """A mark of a token that is no longer current, or has settled before, settles nothing; activity never goes back."""
    active_at = min(at(when), START)  # a clock that runs ahead lengthens nothing
    after = await run(pg, row, "touch", [row.id], [at(when)], [True], [settled])
    is_first = row.settled_at is None and settled == row.token_id
    touched = replace(
        row,
        is_presented=True,
        last_active_at=max(row.last_active_at, active_at),
        expires_at=min(max(row.expires_at, active_at + DAY), row.ends_at),
        settled_at=active_at if is_first else row.settled_at,
    )
    assert after == (touched if is_live(row) else row)


@pytest.mark.threat("SES-16")
@one_database
@given(row=rows)
async def test_first_presentation(pg: asyncpg.Connection, row: Stored) -> None:
    """The mark of a first presentation prolongs nothing and settles nothing."""
    row = replace(row, ends_at=max(row.expires_at, row.ends_at))
    after = await run(pg, row, "touch", [row.id], [row.last_active_at], [False], [None])
    assert after == (replace(row, is_presented=True) if is_live(row) else row)


@pytest.mark.threat("SES-15")
@one_database
@given(row=rows, judged_at=instants)
async def test_tell_outdated(pg: asyncpg.Connection, row: Stored, judged_at: datetime | None) -> None:
    """A replaced secret is told of once: by whoever finds its instant in the row, which changes nothing else."""
    after = await run(pg, row, "tell_outdated", row.id, judged_at)
    is_told = is_live(row) and judged_at is not None and judged_at == row.secret_replaced_at
    assert after == (replace(row, secret_replaced_at=None) if is_told else row)


@pytest.mark.threat("ROT-04")
@one_database
@given(row=rows, differs=differences)
async def test_end_reused(pg: asyncpg.Connection, row: Stored, differs: str) -> None:
    """A session that two parties use ends if it lives and is as it was judged: a request that came later goes on."""
    after = await run(pg, row, "end_reused", row.id, *judged(row, differs))
    assert after == (None if is_live(row) and not differs else row)


# What the rest of the statements and the functions do in a race


async def test_revision_follows_the_clock(pg: asyncpg.Connection) -> None:
    """A changed row gets the time as its revision: a database that was restored uses no number for a second time."""
    await insert(pg, ROW)
    clock = await pg.fetchval("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
    assert await pg.fetchval("update aiosess_sessions set ip = null returning revision") >= clock


async def test_revision_grows_when_the_clock_is_behind(pg: asyncpg.Connection) -> None:
    """A row that was changed at a later time than now gets a higher revision all the same."""
    await insert(pg, replace(ROW, revision=2**62))
    assert await pg.fetchval("update aiosess_sessions set ip = null returning revision") == 2**62 + 1


@pytest.mark.threat("DB-11")
async def test_sweep_leaves_a_session_that_is_prolonged_meanwhile(dsn: str, pg: asyncpg.Connection) -> None:
    """A session that had expired when the sweep began, and lives when the sweep gets its row, stays."""
    await insert(pg, replace(ROW, expires_at=at(-1)))
    async with connected(dsn) as database:
        async with pg.transaction():
            await pg.execute("update aiosess_sessions set expires_at = now() + interval '1 day'")
            sweep = asyncio.create_task(database.fetch(statement("sweep", "public"), UUID(int=0), 10))
            await somebody_waits(pg)
        (record,) = await sweep
    assert record["id"] is None
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 1


async def test_page_has_live_sessions_only(dsn: str, pg: asyncpg.Connection) -> None:
    """An expired session that no sweep has deleted is on no page, and in no number."""
    await insert(pg, ROW)
    await insert(pg, replace(ROW, id=uuid4(), expires_at=at(-1)))
    async with visit(make_app(dsn)) as site:
        page = await site.store.page_for_user(ROW.user_id)
    assert ([session.id for session in page.sessions], page.tally.total) == ([ROW.id], 1)


@pytest.mark.threat("SES-08")
async def test_everybody_is_signed_out_when_a_login_commits_late(dsn: str, pg: asyncpg.Connection) -> None:
    """revoke_all() waits for a login that PostgreSQL has carried out and not yet committed, and ends it too."""
    login = (uuid4(), "ada", SECRET_HASH, "AAAAAAAAAAA", None, "Firefox", "Firefox", "desktop", "Firefox", "{}")
    limits = (DAY.total_seconds(), DAY.total_seconds(), True, 0, None, None, None, "{}")
    waits_for_logins = """
        select exists (
            select from pg_locks l join pg_database d on d.oid = l.database
            where d.datname = current_database() and l.relation = 'aiosess_logins'::regclass and not l.granted
        )
    """

    async def waits_or_has_returned() -> bool:
        return revocation.done() or await pg.fetchval(waits_for_logins)

    async with visit(make_app(dsn)) as site:
        async with pg.transaction():
            await pg.execute(statement("authenticate", "public"), *login, *limits)
            revocation = asyncio.create_task(site.store.revoke_all())
            await eventually(waits_or_has_returned)
        await revocation
        assert await site.store.count() == 0
