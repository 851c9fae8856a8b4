"""The store: its methods for work outside a request, the sweep, and what its statements do to the server."""

import asyncio
import logging
import random
import re
import subprocess
import tempfile
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from aiosess import SessionNotFound, SessionStore, StoreUnavailable, events
from aiosess._postgres.endings import SWEEP_BATCH
from aiosess._postgres.statements import array_text, statement
from aiosess._token.keys import Keyring
from aiosess.embedded import _INSTALLED, EmbeddedPostgres
from aiosess.errors import InvalidData
from tests.world.ageing import age, make_due
from tests.world.app import SECRET, make_app
from tests.world.cookies import session_id
from tests.world.site import Site, visit
from tests.world.wire import request_bytes, set_cookies

HOSTILE = [
    "'",
    "''; drop table aiosess_sessions; --",
    '"',
    "\\'",
    "$1",
    "$$",
    "%s %(x)s",
    "{schema} {columns}",
    "a\nb",
    "é日本🦊",
    "/* */ --",
    "E'\\000'",
    "null",
    "1); delete from aiosess_sessions; select (1",
]


async def fill(pg: asyncpg.Connection, count: int, *, expired: int = 0, users: int = 1000) -> None:
    """Insert many sessions, and some that have expired among them."""
    await pg.execute(
        """
        insert into aiosess_sessions (
            id, user_id, secret_hash, version, token_id, promoted_at, settled_at, ip, user_agent, device_name,
            device_type, fingerprint, authenticated_at, created_at, last_active_at, expires_at, ends_at, idle_timeout,
            remember
        )
        select
            gen_random_uuid(), 'user' || n % $3::int, sha256(n::text::bytea), 1, 'AAAAAAAAAAA', now(), now(),
            '198.51.100.7', repeat('Mozilla/5.0 ', 9), 'Firefox on Linux', 'desktop', '4d50d753f5fd3c5e',
            now(), now(), now(), now() + case when n <= $2::int then -interval '1 hour' else interval '30 days' end,
            now() + interval '90 days', interval '30 days', true
        from generate_series(1, $1::int + $2::int) n
        """,
        count,
        expired,
        users,
    )


# Methods


async def test_list_for_user_has_the_live_sessions_latest_first(site: Site, pg: asyncpg.Connection) -> None:
    """A user's live sessions come with the most recently active one first; others' and expired ones do not come."""
    tokens = [await site.login() for _ in range(4)]
    await site.login("bob")
    for place, token in enumerate(tokens):
        await age(pg, [300, 100, 200, 40 * 86_400][place], f"id = '{session_id(token)}'")
    listed = await site.store.list_for_user("ada")
    assert [session.id for session in listed] == [session_id(tokens[place]) for place in (1, 2, 0)]
    assert {(session.user_id, session.is_current) for session in listed} == {("ada", False)}
    assert await site.store.list_for_user("nobody") == []


@pytest.mark.parametrize("user_id", ["Ada", "ada ", "АДА", "é", "e\u0301", "a" * 512, "'; --"])
async def test_user_ids_are_exact(site: Site, user_id: str) -> None:
    """User ids are compared byte by byte: case, spaces and Unicode forms make other users."""
    token = await site.login()
    assert await site.store.list_for_user(user_id) == []
    assert await site.store.revoke_user(user_id) == 0
    assert (await site.present(token)).user == "ada"


@pytest.mark.parametrize("user_id", ["", "\0", "a\0b", "\udc80", "a" * 513, 7, None, b"ada"])
async def test_impossible_user_ids_are_refused(site: Site, user_id: Any) -> None:
    """What no user id can be is refused before PostgreSQL sees it."""
    for method in (site.store.list_for_user, site.store.revoke_user):
        with pytest.raises(InvalidData):
            await method(user_id)


@pytest.mark.parametrize("form", [UUID, str])
async def test_revoke_ends_one_session(site: Site, happened: list[events.Event], form: type[Any]) -> None:
    """Revoking ends that session, given as UUID or text, tells it once, and leaves the others alone."""
    first, second = await site.login(), await site.login()
    happened.clear()
    await site.store.revoke(form(str(session_id(first))))
    assert [(await site.present(token)).user for token in (first, second)] == [None, "ada"]
    (event,) = happened
    assert isinstance(event, events.Revoked)
    assert (event.session_id, event.user_id, event.reason) == (session_id(first), "ada", "revoke")


@pytest.mark.parametrize("wrong", [UUID(int=1), str(UUID(int=1)), "", "x", "' or true --", "\0", 7, None])
async def test_revoke_of_nothing_is_not_found(site: Site, wrong: Any) -> None:
    """An unknown id and what is no id at all are the same error, and end nothing."""
    token = await site.login()
    with pytest.raises(SessionNotFound, match="no such session"):
        await site.store.revoke(wrong)
    assert (await site.present(token)).user == "ada"


async def test_ended_and_expired_sessions_are_not_found(site: Site, pg: asyncpg.Connection) -> None:
    """Sessions that have ended, by decision or by time, cannot be revoked again."""
    ended, expired = session_id(await site.login()), session_id(await site.login())
    await site.store.revoke(ended)
    await age(pg, 40 * 86_400)
    for each in (ended, expired):
        with pytest.raises(SessionNotFound):
            await site.store.revoke(each)


async def test_revoke_user_ends_all_of_a_users_sessions(site: Site, happened: list[events.Event]) -> None:
    """All sessions of one user end, each is told, and the number is returned; others' go on."""
    tokens = [await site.login() for _ in range(3)]
    other = await site.login("bob")
    happened.clear()
    assert await site.store.revoke_user("ada") == 3
    assert [(await site.present(token)).user for token in tokens] == [None] * 3
    assert (await site.present(other)).user == "bob"
    told = {(event.session_id, event.reason) for event in happened if isinstance(event, events.Revoked)}
    assert told == {(session_id(token), "revoke_user") for token in tokens}
    assert await site.store.revoke_user("ada") == 0


async def test_count_counts_live_sessions(site: Site, pg: asyncpg.Connection) -> None:
    """Expired sessions do not count, swept or not."""
    assert await site.store.count() == 0
    await fill(pg, 20, expired=30)
    assert await site.store.count() == 20


async def test_store_that_does_not_answer_raises() -> None:
    """Every method raises StoreUnavailable when nobody listens."""
    async with visit(make_app("postgresql://x@127.0.0.1:1/x", store_timeout=timedelta(seconds=1))) as site:
        store = site.store
        calls = [
            store.list_for_user("ada"),
            store.revoke(uuid4()),
            store.revoke_user("ada"),
            store.count(),
            store.sweep(),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable):
                await call


def test_store_makes_no_sessions() -> None:
    """What applications get offers no way to make or change a session: that needs a request."""
    assert not vars(SessionStore).keys() & {"authenticate", "adopt", "rotate", "lease", "patch", "touch", "load"}


# The sweep


@pytest.mark.threat("DB-11")
@pytest.mark.parametrize(("live", "expired"), [(0, 0), (30, 0), (0, 2500), (2500, 30), (1300, 1300)])
async def test_sweep_deletes_what_has_expired(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], live: int, expired: int
) -> None:
    """A sweep through several batches deletes all expired rows and no others, and tells each of them once."""
    await fill(pg, live, expired=expired)
    gone = {record["id"] for record in await pg.fetch("select id from aiosess_sessions where expires_at <= now()")}
    assert await site.store.sweep() == expired
    assert await pg.fetchval("select count(*) from aiosess_sessions") == live
    await asyncio.sleep(0)  # the last batch's events are handed over in tasks of their own
    told = Counter(event.session_id for event in happened if isinstance(event, events.Expired))
    assert told == Counter(gone)
    assert await site.store.sweep() == 0


@pytest.mark.threat("DB-11")
async def test_sweep_works_in_small_batches(site: Site, pg: asyncpg.Connection) -> None:
    """No statement of the sweep deletes more rows than a batch has, so that no lock is held for long."""
    await pg.execute(
        """
        create function pg_temp.note() returns trigger language plpgsql as
            $$ begin insert into public.aiosess_test_deletions select count(*) from gone; return null; end $$;
        create table public.aiosess_test_deletions (n int);
        create trigger note after delete on aiosess_sessions referencing old table as gone
            for each statement execute function pg_temp.note()
        """
    )
    try:
        await fill(pg, 100, expired=2 * SWEEP_BATCH + 50)
        assert await site.store.sweep() == 2 * SWEEP_BATCH + 50
        deletions = [record["n"] for record in await pg.fetch("select n from aiosess_test_deletions")]
    finally:
        await pg.execute("drop trigger note on aiosess_sessions; drop table aiosess_test_deletions")
    assert sum(deletions) == 2 * SWEEP_BATCH + 50
    assert max(deletions) <= SWEEP_BATCH


@pytest.mark.threat("DB-11")
async def test_two_sweeps_at_once_tell_each_end_once(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """Sweeps that run at the same time delete each row once between them."""
    await fill(pg, 0, expired=700)
    assert sum(await asyncio.gather(*(site.store.sweep() for _ in range(4)))) == 700
    await asyncio.sleep(0)
    assert max(Counter(event.session_id for event in happened if isinstance(event, events.Expired)).values()) == 1
    assert len(happened) == 700


async def test_one_process_sweeps_in_an_interval(site: Site, dsn: str, pg: asyncpg.Connection) -> None:
    """Of several processes that want to sweep one may, and the next one only when the interval is over."""
    await pg.execute("update aiosess_schema set swept_at = '-infinity'")
    async with visit(make_app(dsn)) as other:
        claims = [each.installation.endings.claim_sweep() for each in (site, other) for _ in range(5)]
        assert sorted(await asyncio.gather(*claims)) == [False] * 9 + [True]
        await pg.execute("update aiosess_schema set swept_at = now() - interval '59 minutes'")
        assert not await other.installation.endings.claim_sweep()
        await pg.execute("update aiosess_schema set swept_at = now() - interval '61 minutes'")
        assert await other.installation.endings.claim_sweep()
        assert not await site.installation.endings.claim_sweep()


async def test_due_sweep_sweeps_and_one_that_is_not_due_does_not(site: Site, pg: asyncpg.Connection) -> None:
    """The background sweep deletes expired rows when its interval has come."""
    await fill(pg, 3, expired=4)
    await pg.execute("update aiosess_schema set swept_at = now()")
    await site.installation.upkeep.sweep_if_due()
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 7
    await pg.execute("update aiosess_schema set swept_at = '-infinity'")
    await site.installation.upkeep.sweep_if_due()
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 3


@pytest.mark.threat("DB-11")
async def test_sweep_that_fails_disturbs_nobody(
    site: Site, pg: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """When the server refuses the sweep, the background goes on, and so do requests."""
    token = await site.login()
    await fill(pg, 0, expired=5)
    await pg.execute(
        """
        update aiosess_schema set swept_at = '-infinity';
        create function aiosess_test_refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
        create trigger refuse before delete on aiosess_sessions for each row execute function aiosess_test_refuse()
        """
    )
    try:
        with caplog.at_level(logging.INFO, "aiosess"):
            await site.installation.upkeep.sweep_if_due()
        assert "the sweep is put off" in caplog.text
        assert (await site.present(token)).user == "ada"
    finally:
        await pg.execute("drop trigger refuse on aiosess_sessions; drop function aiosess_test_refuse")


async def test_sweep_forgets_users_who_left(site: Site, pg: asyncpg.Connection) -> None:
    """What is kept of logins and revocations goes a day after the last of either, in batches."""
    await pg.execute(
        """
        insert into aiosess_logins (user_id, seen_at, revoked_at) values
            ('ada', now(), '-infinity'),
            ('bob', now() - interval '2 days', now() - interval '1 hour'),
            ('eve', now() - interval '25 hours', now() - interval '25 hours')
        """
    )
    await pg.execute(
        """
        insert into aiosess_logins (user_id, seen_at)
        select 'user' || n, now() - interval '2 days' from generate_series(1, $1) n
        """,
        SWEEP_BATCH + 10,
    )
    await site.store.sweep()
    kept = await pg.fetch("select user_id from aiosess_logins order by 1")
    assert [record["user_id"] for record in kept] == ["ada", "bob"]


# What the server gets to see


@pytest.mark.threat("TOK-11")
async def test_dump_holds_no_token_and_no_secret(site: Site, dsn: str, pg: asyncpg.Connection) -> None:
    """A dump of a thousand sessions, rotated and promoted ones among them, holds nothing that gets anybody in."""
    tokens: list[str] = []
    for begin in range(0, 1000, 50):
        tokens += await asyncio.gather(*(site.login(f"user{begin + n}") for n in range(50)))
    await make_due(pg)
    for first in tokens[:50]:
        successor = (await site.present(first)).token
        assert successor
        assert (await site.present(successor)).user is not None
        rotated = (await site.present(successor, "/do/rotate", method="POST")).token
        assert rotated
        tokens += [successor, rotated]
    program = _INSTALLED / "bin" / "pg_dump"
    command = [program, "--dbname", dsn]
    dump: Any = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    read = [Keyring(SECRET).verify(token, "aiosess") for token in tokens]
    text: bytes = dump.stdout
    assert text.count(read[-1].secret_hash.hex().encode()) == 1  # it is a dump of these sessions
    parts = {part for token in tokens for part in (token, *token.split(".")[1:])}
    for token in read:  # not even half of a secret, in any spelling
        half = token.secret[:20]
        parts |= {half, half.encode().hex(), urlsafe_b64decode(half).hex()}
    assert not [part for part in parts if part.encode() in text]


async def do_everything(site: Site, text: str) -> None:
    """Put a text wherever a request or a caller can put one."""
    browser = await site.browser()
    agent = text.replace("\n", " ").encode("utf-8", "replace")
    cookie = b"Cookie: __Host-session=" + agent.replace(b";", b"")
    wire = await site.wire()
    await wire.ask(request_bytes("/me", cookie, b"User-Agent: " + agent, b"X-Forwarded-For: " + agent))

    async def inside(sessions: Any) -> None:
        await sessions.authenticate(text, data={text: text, "list": [text]})
        await sessions.set(text, {text: [text]})
        await sessions.remove_key(text)
        await sessions.rotate()
        await sessions.list_my_sessions()
        await sessions.logout_other()
        with pytest.raises(SessionNotFound):
            await sessions.revoke(text)
        with pytest.raises(SessionNotFound):
            await sessions.revoke(str(uuid4()))

    await browser.run(inside)
    assert set_cookies(browser.reply)
    assert len(await site.store.list_for_user(text)) == 1
    with pytest.raises(SessionNotFound):
        await site.store.revoke(text)
    reply = await wire.ask(
        request_bytes("/me", f"Cookie: __Host-session={browser.token}".encode(), b"User-Agent: " + agent)
    )
    assert reply.user == text
    assert await site.store.revoke_user(text) == 1


@pytest.mark.threat("DB-01")
async def test_statements_do_not_depend_on_input() -> None:
    """Whatever text comes in, the server's log shows the same statements: every value is a bound parameter."""
    settings = {"fsync": "off", "log_statement": "all", "log_line_prefix": "@@"}
    with (
        tempfile.TemporaryDirectory(prefix="aiosess") as folder,
        EmbeddedPostgres(Path(folder) / "pg", settings=settings) as server,
    ):

        def statements() -> set[str]:
            entries = (Path(folder) / "pg" / "log").read_text(encoding="utf-8").split("\n@@")
            found = (re.fullmatch(r"LOG:  (?:execute [^:]*|statement): (.*)", entry, re.DOTALL) for entry in entries)
            return {match[1] for match in found if match}

        async with visit(make_app(server.dsn)) as site:
            await do_everything(site, "plain")
            await (
                site.installation.upkeep.flush()
            )  # the marks of first presentations; they may have been written by now
            plain = statements()
            assert any("aiosess_authenticate" in statement for statement in plain)
            for text in HOSTILE:
                await do_everything(site, text)
            assert statements() == plain
            assert await site.store.count() == 0


@pytest.fixture
async def alone(empty_dsn: str) -> AsyncIterator[tuple[asyncpg.Pool, asyncpg.Connection]]:
    """Return a pool of one connection to a database with tables of its own, and a connection to look at it."""
    async with asyncpg.create_pool(empty_dsn, min_size=1, max_size=1) as pool, visit(make_app(empty_dsn, pool=pool)):
        connection = await asyncpg.connect(empty_dsn)
        yield pool, connection
        await connection.close()


async def statistics(pool: asyncpg.Pool, pg: asyncpg.Connection, table: str = "aiosess_sessions") -> asyncpg.Record:
    """Return the server's counters for a table, with what the pool's connection has done included."""
    await pool.execute("select pg_stat_force_next_flush()")
    await pg.execute("select pg_stat_force_next_flush()")
    (counters,) = await pg.fetch("select * from pg_stat_user_tables where relname = $1", table)
    return counters


@pytest.mark.threat("DB-12")
async def test_touches_are_hot_updates(alone: tuple[asyncpg.Pool, asyncpg.Connection]) -> None:
    """Thousands of touches, some of which settle tokens or note a first use, move hardly any row to another page."""
    pool, pg = alone
    await fill(pg, 2000)
    ids = [record["id"] for record in await pg.fetch("select id from aiosess_sessions")]
    async with visit(make_app("", pool=pool)) as site:
        before = await statistics(pool, pg)
        chance = random.Random(4)  # noqa: S311 - the same touches in every run
        for _ in range(100):
            now = site.store.clock.now()
            # Of those who are active within touch_interval, the share that one second has.
            for session in chance.sample(ids, 40):
                site.installation.upkeep.touch(session, now)
            site.installation.upkeep.settle(chance.choice(ids), now, "AAAAAAAAAAA")
            site.installation.upkeep.present(chance.choice(ids), now)
            await site.installation.upkeep.flush()
        after = await statistics(pool, pg)
    updated = after["n_tup_upd"] - before["n_tup_upd"]
    assert updated > 3900
    assert (after["n_tup_hot_upd"] - before["n_tup_hot_upd"]) / updated > 0.95


STATEMENTS = {
    "load": [uuid4()],
    "check": [array_text(uuid4() for _ in range(200)), array_text([0] * 200)],
    "adopt": [
        uuid4(),
        2,
        "AAAAAAAAAAA",
        "AAAAAAAAAAA",
        8,
        "AAAAAAAAAAA",
        None,
        "holder",
        600,
        "",
        "",
    ],
    "lease": [uuid4(), "AAAAAAAAAAA", "AAAAAAAAAAA", True, 60, 600, "client", None],
    "rotate": [uuid4(), b"", b"", "AAAAAAAAAAA", True, "", "", ""],
    "patch": [uuid4(), '{"key": 1}', 16384],
    "increment": [uuid4(), "key", 1, 16384],
    "remove_key": [uuid4(), "key"],
    "refingerprint": [uuid4(), "", ""],
    "end_reused": [uuid4(), "AAAAAAAAAAA", None],
    "tell_outdated": [uuid4(), datetime(2026, 1, 1, tzinfo=UTC)],
    "revoke": [uuid4(), "user1"],
}


@pytest.fixture
async def large(alone: tuple[asyncpg.Pool, asyncpg.Connection]) -> tuple[asyncpg.Pool, asyncpg.Connection]:
    """Return what alone() does, with 50,000 sessions."""
    await fill(alone[1], 50_000, users=10_000)
    await alone[1].execute("analyze")
    return alone


async def test_statements_of_the_request_path_use_the_primary_key(
    large: tuple[asyncpg.Pool, asyncpg.Connection],
) -> None:
    """Among 50,000 sessions every statement of a request finds its rows by the primary key, without a scan."""
    _, pg = large
    for name, arguments in STATEMENTS.items():
        plan = await pg.fetch(f"explain {statement(name, 'public')}", *arguments)
        text = "\n".join(record[0] for record in plan)
        assert "aiosess_sessions_pkey" in text, (name, text)
        assert "Seq Scan on aiosess_sessions" not in text, (name, text)


async def test_lists_of_a_user_use_the_index(large: tuple[asyncpg.Pool, asyncpg.Connection]) -> None:
    """A user's sessions among 50,000 are found by the index on user_id."""
    _, pg = large
    plan = await pg.fetch(f"explain {statement('list_for_user', 'public')}", "user1", 1000)
    text = "\n".join(record[0] for record in plan)
    assert "aiosess_sessions_user_id" in text
    assert "Seq Scan" not in text


async def test_requests_never_scan_the_table(large: tuple[asyncpg.Pool, asyncpg.Connection]) -> None:
    """Logins with their cap, requests, rotation, touches, lists and revocations read 50,000 sessions by index only."""
    pool, pg = large
    async with visit(make_app("", pool=pool, max_sessions_per_user=3)) as site:
        await site.login("user1")  # plans and prepares
        before = {table: await statistics(pool, pg, table) for table in ("aiosess_sessions", "aiosess_logins")}
        for _ in range(10):
            token = await site.login("user1")  # evicts
            reply = await site.present(token, "/do/rotate", method="POST")
            assert reply.token
            token = reply.token
            await pg.execute(
                """
                update aiosess_sessions set promoted_at = now() - interval '1 hour',
                last_active_at = now() - interval '1 hour', settled_at = now() - interval '1 hour' where id = $1
                """,
                session_id(token),
            )
            successor = (await site.present(token)).token
            assert successor
            assert (await site.present(successor)).user == "user1"
            await site.installation.upkeep.flush()
            await site.present(successor, "/do/list_my_sessions", method="POST")
            await site.present(successor, "/do/logout_other", method="POST")
            await site.store.revoke(session_id(token))
            await site.store.revoke_user("user1")
        for table, counters in before.items():
            after = await statistics(pool, pg, table)
            assert after["seq_scan"] == counters["seq_scan"], table
            assert after["idx_scan"] > counters["idx_scan"]
