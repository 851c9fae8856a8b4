"""What the checker remembers of sessions, for how long, and when it asks again."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from aiosess._check import checker
from aiosess._row import Row
from aiosess._token.token import Token, new_token
from tests.check.room import NEVER, Gate, Room, end_elsewhere, make_room, turn, until, user_of
from tests.world.ageing import age
from tests.world.app import make_app
from tests.world.site import visit
from tests.world.waiting import eventually


async def lose_connections(pg: asyncpg.Connection, room: Room) -> None:
    """Terminate every connection that is idle but the test's own, and wait until the room knows."""
    epoch = room.checker._held.epoch
    await pg.execute(
        """
        select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state = 'idle'
        """
    )
    await until(lambda: room.checker._held.epoch > epoch)


# What is remembered


@pytest.mark.parametrize("end", ["deleted", "expired"])
async def test_ended_session_costs_no_more_queries(room: Room, pg: asyncpg.Connection, end: str) -> None:
    """A session whose row is gone or out of time is asked for once; then the process knows."""
    token = await room.login()
    await room.check(token)
    if end == "deleted":
        await end_elsewhere(pg, token)
    else:
        await age(pg, 365 * 86400)
    before = room.checks
    assert await room.ask_all(*[token] * 10) == [None] * 10
    assert [await room.check(token) for _ in range(10)] == [None] * 10
    assert room.checks == before + 1


@pytest.mark.threat("DOS-01", "SES-10")
async def test_memory_of_ended_sessions_is_bounded(dsn: str) -> None:
    """Ten thousand rightly signed tokens of no session fill no memory beyond its bound, and are all anonymous."""
    until_then = datetime.now(UTC) + timedelta(days=30)
    async with make_room(dsn, max_held_sessions=100) as room:
        token = await room.login()
        for _ in range(10):
            forged = [new_token(uuid7(), 1, until_then) for _ in range(1000)]
            assert set(await room.ask_all(*forged)) == {None}
            assert len(room.checker._held._known) <= 100
        assert room.checks == 10
        assert user_of(await room.check(token)) == "ada"
        assert await room.store.count() == 1


@pytest.mark.threat("DOS-01")
async def test_held_rows_are_bounded(dsn: str) -> None:
    """More sessions than may be held are all answered rightly, and no more than that are held."""
    async with make_room(dsn, max_held_sessions=10) as room:
        tokens = await room.logins(30)
        for _ in range(3):
            rows = await room.ask_all(*tokens)
            assert [user_of(row) for row in rows] == [f"user{number}" for number in range(30)]
            assert len(room.checker._held._known) <= 10


async def test_older_row_never_replaces_a_newer_one(dsn: str) -> None:
    """A row that arrives late, from a slower write or check, does not take the place of a newer one."""
    async with make_room(dsn, max_staleness=timedelta(seconds=NEVER)) as room:
        token = await room.login()
        old = await room.check(token)
        new = await room.rows.patch(token.session_id, '{"key": 1}')
        assert old is not None
        assert new is not None
        room.signals.changed.send(new)
        room.signals.changed.send(old)
        assert await room.check(token) is new
        assert room.checks == 1


async def test_late_answer_never_replaces_a_newer_row(dsn: str, room: Room, gate: Gate) -> None:
    """An answer that was on its way while a write of this process came back does not hide the write."""
    token = await room.login("slow")
    async with make_room(dsn, schema="gated", max_staleness=timedelta(seconds=NEVER)) as gated:
        await gate.close()
        early = gated.ask(token)
        await gate.stopped()
        new = await room.rows.patch(token.session_id, '{"key": 1}')
        assert new is not None
        gated.signals.changed.send(new)
        await gate.open()
        row = await early
        assert row is not None
        assert row.revision < new.revision
        assert await gated.check(token) is new


async def test_ended_session_is_never_resurrected_by_a_row(room: Room) -> None:
    """A row that was read before a session ended, and is handed over after, does not bring it back."""
    token = await room.login()
    row = await room.check(token)
    assert row is not None
    room.signals.ended.send(token.session_id)
    room.signals.ended.send(token.session_id)
    room.signals.changed.send(row)
    room.signals.changed.send(replace(row, revision=row.revision + 1))
    assert await room.check(token) is None
    assert room.checks == 1


@pytest.mark.threat("SES-04")
async def test_ended_session_is_never_resurrected_by_a_late_answer(room: Room, gated: Room, gate: Gate) -> None:
    """An answer that was on its way while this process ended the session does not bring it back."""
    token = await room.login("slow")
    await gate.close()
    early = gated.ask(token)
    await gate.stopped()
    await room.store.revoke(token.session_id)
    gated.signals.ended.send(token.session_id)
    await gate.open()
    assert user_of(await early) == "slow"
    assert await gated.check(token) is None


async def test_forgotten_row_is_read_anew(dsn: str) -> None:
    """A row that was forgotten is read again, whatever may be held."""
    async with make_room(dsn, max_staleness=timedelta(seconds=NEVER)) as room:
        token = await room.login()
        before = await room.check(token)
        room.checker.forget(token.session_id)
        room.checker.forget(token.session_id)
        after = await room.check(token)
        assert before == after
        assert before is not after
        assert room.checks == 2


# A lost connection


async def change_quietly(pg: asyncpg.Connection, token: Token) -> None:
    """Change what a row holds and not its revision, as a database does that went back in time."""
    await pg.execute("set session_replication_role = replica")  # no triggers
    await pg.execute("update aiosess_sessions set data = '{\"restored\": true}' where id = $1", token.session_id)
    await pg.execute("reset session_replication_role")


def is_restored(row: Row | None) -> bool:
    """Say whether a row is what change_quietly() made of it."""
    assert row is not None
    return row.data == '{"restored": true}'


async def connect_twice(room: Room) -> None:
    """Have two connections in the pool, so that one can be lost while the other is used."""
    await asyncio.gather(room.database.fetch("select pg_sleep(0)"), room.database.fetch("select pg_sleep(0)"))
    assert room.pool.get_size() > 1


async def test_lost_connection_makes_the_dead_unknown(room: Room, pg: asyncpg.Connection) -> None:
    """A session that had ended is alive again when the database was restored to an earlier time."""
    token = await room.login()
    await pg.execute("create temporary table saved as select * from aiosess_sessions")
    await end_elsewhere(pg, token)
    assert await room.check(token) is None
    await lose_connections(pg, room)
    await pg.execute("insert into aiosess_sessions select * from saved; drop table saved")
    assert user_of(await room.check(token)) == "ada"


async def test_lost_connection_makes_held_rows_unknown(room: Room, pg: asyncpg.Connection) -> None:
    """Another content under the revision that was held is seen once the connection was lost."""
    token = await room.login()
    await room.check(token)
    await change_quietly(pg, token)
    assert not is_restored(await room.check(token)), "the row is not held: the test shows nothing"
    await lose_connections(pg, room)
    assert is_restored(await room.check(token))


async def test_batch_that_waits_while_a_connection_is_lost_reads_whole_rows(
    room: Room, gated: Room, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was held when a request joined its batch is not relied on when a connection was lost before it went."""
    monkeypatch.setattr(checker, "SLOW_AFTER", NEVER)
    slow, token = await room.login("slow"), await room.login("quick")
    await gated.check(token)
    await connect_twice(gated)
    await gate.close()
    early = gated.ask(slow)
    await gate.stopped()
    late = gated.ask(token)
    await turn()
    assert gated.joined == 1
    await change_quietly(gate.pg, token)
    await lose_connections(gate.pg, gated)
    await gate.open()
    await early
    assert is_restored(await late)


async def test_batch_in_flight_that_loses_its_connection_reads_whole_rows(
    room: Room, gated: Room, gate: Gate, pg: asyncpg.Connection
) -> None:
    """A batch that is asked again on another connection, one that is at hand too, asks for whole rows."""
    token = await room.login("slow")
    await gated.check(token)
    await connect_twice(gated)
    await gate.close()
    asked = gated.ask(token)
    await gate.stopped()
    await change_quietly(pg, token)
    await gate.end_stopped()
    await gate.stopped()
    await gate.open()
    assert is_restored(await asked)


async def test_answer_from_before_a_loss_is_not_remembered(
    room: Room, gated: Room, gate: Gate, pg: asyncpg.Connection
) -> None:
    """What a server said before a connection was lost is answered, and not taken for what the next one knows."""
    slow, token = await room.login("slow"), await room.login("quick")
    await connect_twice(gated)
    await pg.execute("create temporary table saved as select * from aiosess_sessions where user_id = 'quick'")
    await end_elsewhere(pg, token)
    await gate.close()
    asked = gated.ask_all(slow, token)
    await gate.stopped()
    await lose_connections(pg, gated)
    await gate.open()
    assert [user_of(row) for row in await asked] == ["slow", None]
    assert len(gated.checker._held._known) == 0
    await pg.execute("insert into aiosess_sessions select * from saved; drop table saved")
    assert user_of(await gated.check(token)) == "quick"


# Staleness


async def test_by_default_every_request_is_checked(room: Room) -> None:
    """Nothing is taken for true because it was a moment ago."""
    token = await room.login()
    for _ in range(10):
        await room.check(token)
    assert room.checks == 10


async def test_staleness_saves_queries_for_its_span_only(dsn: str, pg: asyncpg.Connection) -> None:
    """Within max_staleness a check costs nothing; after it, it asks again and sees what another process did."""
    async with make_room(dsn, max_staleness=timedelta(seconds=NEVER)) as room:
        token = await room.login()
        for _ in range(10):
            assert user_of(await room.check(token)) == "ada"
        assert room.checks == 1
    async with make_room(dsn, max_staleness=timedelta(milliseconds=50)) as room:
        await room.check(token)
        await until(lambda: room.checker._held.get(token.session_id.int).asked_at < monotonic() - 0.05)
        await room.check(token)
        assert room.checks == 2
        await end_elsewhere(pg, token)
        await eventually(lambda: _is_out(room, token))


async def _is_out(room: Room, token: Token) -> bool:
    return await room.check(token) is None


@pytest.mark.threat("SES-03")
@pytest.mark.parametrize("way", ["logout_other", "logout_all", "revoke", "store", "store, by user", "evicted"])
async def test_process_that_ends_a_session_knows_at_once(dsn: str, way: str) -> None:
    """However long an answer may be relied on, the process that ended a session does not accept it any more."""
    async with visit(make_app(dsn, max_staleness=timedelta(hours=1), max_sessions_per_user=2)) as site:
        ended, other = await (await site.browser()).login("ada"), await (await site.browser()).login("ada")
        assert await ended.user() == await ended.user() == "ada"
        session_id = (await (await ended.get("/me")).json())["id"]
        if way == "revoke":
            assert (await other.post(f"/revoke/{session_id}")).status == 200
        elif way == "store":
            await site.store.revoke(session_id)
        elif way == "store, by user":
            assert await site.store.revoke_user("ada") == 2
        elif way == "evicted":
            await (await site.browser()).login("ada")
        else:
            assert (await other.post(f"/do/{way}")).status == 200
        assert await ended.user() is None


@pytest.mark.threat("SES-02")
async def test_held_row_does_not_refuse_a_newer_secret(dsn: str) -> None:
    """However long an answer may be relied on, another process accepts a token that was rotated here at once."""
    stale = {"max_staleness": timedelta(hours=1)}
    async with visit(make_app(dsn, **stale)) as one, visit(make_app(dsn, **stale)) as other:
        browser = await (await one.browser()).login("ada")
        assert await (await other.browser(browser.token)).user() == "ada"
        assert (await browser.post("/do/reauthenticated")).status == 200
        assert await (await other.browser(browser.token)).user() == "ada"


async def test_row_that_a_write_returned_is_never_believed_without_a_check(dsn: str) -> None:
    """However stale an answer may be, a session that PostgreSQL was not asked about yet is asked about."""
    async with make_room(dsn, max_staleness=timedelta(days=36_500)) as room:
        token = await room.login()
        assert await room.check(token)
        assert await room.check(token)
        assert room.checks == 1
