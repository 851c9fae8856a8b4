"""A user with very many sessions: whatever is done to all of them is done in batches, and to each one once."""

from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from aiosess import events
from aiosess._postgres.endings import USER_BATCH
from tests.world.app import make_app
from tests.world.databases import copy_session, logged_pool
from tests.world.site import Site, visit
from tests.world.waiting import eventually

MANY = 3 * USER_BATCH + 7


@pytest.fixture
async def crowd(dsn: str, happened: list[events.Event]) -> AsyncIterator[tuple[Site, list[str]]]:
    """Return a site whose user ada has one session, and the statements that it runs."""
    async with (
        logged_pool(dsn) as (pool, statements),
        visit(make_app("", pool=pool, on_event=happened.append)) as site,
    ):
        await site.login("ada")
        yield site, statements


async def told(happened: list[events.Event], kind: type[events.SessionEvent], count: int) -> None:
    """See that events of a kind are told of so many sessions, each once."""

    async def is_told() -> bool:
        return sum(isinstance(event, kind) for event in happened) >= count

    await eventually(is_told)
    ids = Counter(event.session_id for event in happened if isinstance(event, kind))
    assert (len(ids), set(ids.values())) == (count, {1})


@pytest.mark.threat("SES-19")
@pytest.mark.parametrize("how", ["revoke_user", "logout_other", "logout_all"])
async def test_all_end_in_batches(
    how: str, crowd: tuple[Site, list[str]], pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """Each of the sessions ends and is told of once, in statements of a bounded size; other users keep theirs."""
    site, statements = crowd
    browser = await (await site.browser()).login("ada")
    await site.login("grace")
    await copy_session(pg, "ada", MANY - 2)
    happened.clear()
    if how == "revoke_user":
        assert await site.store.revoke_user("ada") == MANY
    else:
        assert (await browser.post(f"/do/{how}")).status == 200
    ended = MANY - (how == "logout_other")
    await told(happened, events.Revoked, ended)
    assert sum("delete from" in each and "limit $4" in each for each in statements) == 3
    assert await browser.user() == ("ada" if how == "logout_other" else None)
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 1 + (how == "logout_other")


@pytest.mark.threat("SES-19")
async def test_session_that_begins_meanwhile_goes_on(
    crowd: tuple[Site, list[str]], pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A login that begins between two batches keeps its session."""
    site, _ = crowd
    await copy_session(pg, "ada", MANY - 1)
    # Sessions of logins that began after the revocation was noted; the first batch is that moment and may meet some.
    await pg.execute(
        """
        update aiosess_sessions set created_at = now() + interval '1 hour'
        where id in (select id from aiosess_sessions order by id desc limit $1)
        """,
        USER_BATCH + 1,
    )
    ended = await site.store.revoke_user("ada")
    left = await pg.fetchval("select count(*) from aiosess_sessions")
    assert left >= 1
    assert ended == MANY - left
    assert await pg.fetchval("select bool_and(created_at > now()) from aiosess_sessions")
    await told(happened, events.Revoked, ended)


@pytest.mark.threat("SES-19")
async def test_login_evicts_a_bounded_number(dsn: str, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """After a lower cap was set, each login ends some of the sessions over it, until they are as many as the cap."""
    async with visit(make_app(dsn, on_event=happened.append, max_sessions_per_user=5)) as site:
        await site.login("ada")
        await copy_session(pg, "ada", 2 * USER_BATCH)
        left = []
        for _ in range(4):
            await site.login("ada")
            left.append(await pg.fetchval("select count(*) from aiosess_sessions"))
        assert left == [USER_BATCH + 2, 5, 5, 5]
        await told(happened, events.Evicted, 2 * USER_BATCH)


@pytest.mark.threat("SES-19")
async def test_lists_have_a_limit(crowd: tuple[Site, list[str]], pg: asyncpg.Connection) -> None:
    """A list is cut at its limit, with the most recently active sessions in it; pages lead to the others."""
    site, _ = crowd
    browser = await (await site.browser()).login("ada")
    await copy_session(pg, "ada", MANY - 2)
    assert len(await site.store.list_for_user("ada")) == 1000
    assert len(await site.store.list_for_user("ada", limit=7)) == 7
    mine = await browser.run(lambda sessions: sessions.list_my_sessions())
    assert len(mine) == 1000
    page = await site.store.page_for_user("ada", limit=50, offset=1500)
    assert (len(page.sessions), page.tally.total) == (MANY - 1500, MANY)


@pytest.mark.threat("SES-19")
async def test_sweep_walks_through_logins_once(dsn: str, pg: asyncpg.Connection) -> None:
    """However many users signed in lately, each row is looked at once, and those of a day ago go."""
    async with logged_pool(dsn) as (pool, statements), visit(make_app("", pool=pool)) as site:
        await pg.execute(
            """
            insert into aiosess_logins (user_id, seen_at)
            select 'user' || n, now() - (n % 2) * interval '2 days' from generate_series(1, 25000) n
            """
        )
        await site.store.sweep()
        assert sum("forgotten" in each for each in statements) == 4  # three batches, and the end
        assert await pg.fetchval("select count(*) from aiosess_logins where seen_at < now() - interval '1 day'") == 0
        assert await pg.fetchval("select count(*) from aiosess_logins") == 12_500
