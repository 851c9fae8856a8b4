"""A session that turns up on another kind of browser, platform or device."""

import asyncio
import gc

import asyncpg
import pytest

from aiosess import events
from aiosess._web.admission import _Judged
from tests.world.app import make_app
from tests.world.browser import firefox
from tests.world.site import Site, visit

FIREFOX, NEWER_FIREFOX = firefox(), firefox(150)
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.6 Mobile/15E148 Safari/604.1"
)


async def test_change_is_reported_once(dsn: str) -> None:
    """In "report" a change is one event with who presented the cookie, and the session goes on."""
    happened: list[events.Event] = []
    async with visit(make_app(dsn, on_event=happened.append)) as site:
        browser = await site.browser()
        await browser.post("/login/alice", headers={"User-Agent": FIREFOX})
        for user_agent in (FIREFOX, NEWER_FIREFOX, SAFARI, SAFARI):
            assert (await (await browser.get("/me", headers={"User-Agent": user_agent})).json())["user"] == "alice"
    (change,) = [event for event in happened if isinstance(event, events.FingerprintChanged)]
    assert (change.origin.device_name, change.presenter.device_name) == ("Firefox on Linux", "Safari on iOS")


async def test_parallel_requests_report_a_change_once(dsn: str) -> None:
    """Parallel requests that bring the same change make one event of it, over two instances."""
    happened: list[events.Event] = []
    async with visit(make_app(dsn, on_event=happened.append)) as one, visit(make_app(dsn)) as other:
        browser = await one.browser()
        await browser.post("/login/alice", headers={"User-Agent": FIREFOX})
        elsewhere = await other.browser(browser.token)
        asking = [each.get("/me", headers={"User-Agent": SAFARI}) for each in [browser] * 5 + [elsewhere] * 5]
        assert {(await reply.json())["user"] for reply in await asyncio.gather(*asking)} == {"alice"}
    assert len([event for event in happened if isinstance(event, events.FingerprintChanged)]) <= 1


async def test_enforced_change_ends_the_session(dsn: str, pg: asyncpg.Connection) -> None:
    """In "enforce" the session ends at the first request of another kind of browser, and both events say so once."""
    happened: list[events.Event] = []
    async with visit(make_app(dsn, on_event=happened.append, fingerprint="enforce")) as site:
        browser = await site.browser()
        await browser.post("/login/alice", headers={"User-Agent": FIREFOX})
        assert (await (await browser.get("/me", headers={"User-Agent": NEWER_FIREFOX})).json())["user"] == "alice"
        stolen = [browser.get("/me", headers={"User-Agent": SAFARI}) for _ in range(5)]
        assert {(await reply.json())["user"] for reply in await asyncio.gather(*stolen)} == {None}
        assert (await (await browser.get("/me", headers={"User-Agent": FIREFOX})).json())["user"] is None
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 0
    assert [type(event) for event in happened[2:]] == [events.Revoked, events.FingerprintChanged]
    (ended,) = [event for event in happened if isinstance(event, events.Revoked)]
    assert ended.reason == "fingerprint"


@pytest.mark.threat("DOS-01")
async def test_long_user_agent_is_not_kept(site: Site) -> None:
    """No process keeps a User-Agent of 8 kB for each token that it knows; a usual one is kept, to be compared."""
    for user_agent, kept in ((FIREFOX, True), (FIREFOX.ljust(8000, "x"), False), (FIREFOX.ljust(512, "x"), True)):
        browser = await site.browser()
        for _ in range(3):
            await browser.post("/login/alice", headers={"User-Agent": user_agent})
            assert (await (await browser.get("/me", headers={"User-Agent": user_agent})).json())["user"] == "alice"
        agents = [each.user_agent for each in gc.get_objects() if isinstance(each, _Judged)]
        assert (user_agent in agents) is kept


@pytest.mark.parametrize("length", [512, 513, 8000])
async def test_change_behind_a_long_user_agent_is_noticed(length: int, dsn: str) -> None:
    """However long the User-Agents are, another browser is another one."""
    async with visit(make_app(dsn, fingerprint="enforce")) as site:
        browser = await site.browser()
        mine, stolen = FIREFOX.ljust(length, "x"), SAFARI.ljust(length, "x")
        await browser.post("/login/alice", headers={"User-Agent": mine})
        for user_agent, user in ((mine, "alice"), (mine, "alice"), (stolen, None), (mine, None)):
            assert (await (await browser.get("/me", headers={"User-Agent": user_agent})).json())["user"] == user


@pytest.mark.parametrize("setting", ["off", "report"])
async def test_change_need_not_end_the_session(dsn: str, setting: str) -> None:
    """Only "enforce" ends a session for its browser."""
    async with visit(make_app(dsn, fingerprint=setting)) as site:
        browser = await site.browser()
        await browser.post("/login/alice", headers={"User-Agent": FIREFOX})
        assert (await (await browser.get("/me", headers={"User-Agent": SAFARI})).json())["user"] == "alice"
