"""Hostile Cookie headers over raw sockets: they cost little, fill no log, and hide nothing that matters."""

import asyncio
import logging
from collections.abc import AsyncIterator

import asyncpg
import pytest

from aiosess import events
from aiosess._client import caller
from aiosess._client.device import Device, describe
from aiosess._web import installation
from tests.world.ageing import age, make_due
from tests.world.app import make_app
from tests.world.site import Site, visit
from tests.world.waiting import eventually
from tests.world.wire import COOKIE, Reply, request_bytes, set_cookies

DELETION = f"{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
FILLER = b"Cookie: x=" + b"y" * 8000


async def ask_often(site: Site, requests: list[bytes]) -> list[Reply]:
    """Send requests one behind the other on one connection, and return the answers."""
    wire = await site.wire()
    sending = asyncio.create_task(wire.send(*requests))
    replies = [await wire.read() for _ in requests]
    await sending
    return replies


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what aiosess has logged."""
    return [record.getMessage() for record in caplog.records if record.name == "aiosess"]


async def steal(site: Site, pg: asyncpg.Connection) -> None:
    """Let two parties use a session, one of them with a token that was replaced long ago."""
    old = await site.login("ada")
    await make_due(pg)
    successor = (await site.present(old)).token
    assert successor
    assert (await site.present(successor)).user == "ada"
    await pg.execute("update aiosess_sessions set settled_at = promoted_at")
    await age(pg, 3600)
    assert (await site.present(old)).user is None


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Return the User-Agents that are described from now on."""
    seen: list[str | None] = []

    def noted(user_agent: str | None) -> Device:
        seen.append(user_agent)
        return describe(user_agent)

    monkeypatch.setattr(caller, "describe", noted)
    return seen


@pytest.mark.threat("DOS-05")
@pytest.mark.threat("LOG-02")
@pytest.mark.threat("EVT-01")
async def test_conflicts_are_limited_and_a_theft_is_told(
    site: Site,
    pg: asyncpg.Connection,
    happened: list[events.Event],
    described: list[str | None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """5,000 conflicts with fresh User-Agents describe ten clients and make ten events; a theft after them is told."""
    requests = [
        request_bytes("/me", b"Cookie: %s=a; %s=%d" % (COOKIE.encode(), COOKIE.encode(), n), b"User-Agent: a/%d" % n)
        for n in range(5000)
    ]
    assert {(reply.status, reply.user) for reply in await ask_often(site, requests)} == {(200, None)}
    assert described == [f"a/{n}" for n in range(10)]
    await steal(site, pg)
    kinds = [type(event) for event in happened]
    assert kinds.count(events.CookieConflicted) == 10
    assert kinds[-1] is events.ReuseDetected
    site.installation.log_limit.start_minute()
    assert len(lines(caplog)) == 12
    assert "two different session cookies (4,990 times)" in lines(caplog)[-1]
    (again,) = await ask_often(site, requests[:1])
    assert again.user is None
    assert [type(event) for event in happened].count(events.CookieConflicted) == 11


@pytest.mark.threat("LOG-04")
async def test_theft_is_logged_without_a_hook(
    dsn: str, pg: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """An application without on_event has the theft and the planted cookie in its log."""
    async with visit(make_app(dsn)) as site:
        await steal(site, pg)
        assert (await site.present(f"a; {COOKIE}=b")).user is None
    assert [line.split(":")[0] for line in lines(caplog)] == ["ReuseDetected", "CookieConflicted"]


@pytest.mark.threat("DOS-05")
async def test_more_than_16_kb_are_anonymous(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """With more than 16 kB of Cookie headers even a live token is nobody; one line says so, and later how often."""
    token = await site.login("ada")
    ours = f"Cookie: {COOKIE}={token}".encode()
    assert (await site.present(token, "/me", FILLER)).user == "ada"
    for headers in ([ours, FILLER, FILLER, FILLER], [FILLER, FILLER, ours, FILLER], [FILLER] * 119 + [ours]):
        for reply in await ask_often(site, [request_bytes("/me", *headers)] * 5):
            assert (reply.status, reply.user, set_cookies(reply)) == (200, None, [])
    assert lines(caplog) == ["a request with more than 16 kB of Cookie headers was taken as anonymous"]
    site.installation.log_limit.start_minute()
    assert lines(caplog)[1:] == ["not told one by one since a minute ago: more than 16 kB of cookies (14 times)"]
    assert (await site.present(token)).user == "ada"


@pytest.mark.threat("COO-04")
@pytest.mark.parametrize("method", ["logout", "logout_all"])
async def test_logout_deletes_what_was_not_read(method: str, site: Site) -> None:
    """A logout deletes the cookie though there were too many to look for it, or two different ones."""
    for headers in ([FILLER] * 3, [f"Cookie: {COOKIE}=a; {COOKIE}=b".encode()]):
        (reply,) = await ask_often(site, [request_bytes(f"/do/{method}", *headers, method="POST")])
        assert DELETION in set_cookies(reply)


@pytest.mark.threat("DOS-05")
async def test_login_works_with_too_many_cookies(site: Site) -> None:
    """Somebody with too many cookies can sign in, and is known as soon as the others are gone."""
    (reply,) = await ask_often(site, [request_bytes("/login/ada", FILLER, FILLER, FILLER, method="POST")])
    assert reply.token
    assert (await site.present(reply.token)).user == "ada"


@pytest.fixture
async def hurried(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Return a site whose minutes are short."""
    monkeypatch.setattr(installation, "MINUTE", 0.01)
    async with visit(make_app(dsn)) as site:
        yield site


@pytest.mark.threat("LOG-02")
async def test_minutes_pass_by_themselves(hurried: Site, caplog: pytest.LogCaptureFixture) -> None:
    """What was left out is summed up once a minute while the application runs."""
    requests = [request_bytes("/me", FILLER, FILLER, FILLER)] * 20
    await ask_often(hurried, requests)
    await eventually(lambda: any("not told one by one" in line for line in lines(caplog)))


@pytest.mark.threat("LOG-02")
async def test_last_minute_is_told_at_the_end(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """An application that ends says what it has left out since the last minute."""
    async with visit(make_app(dsn)) as site:
        await ask_often(site, [request_bytes("/me", FILLER, FILLER, FILLER)] * 2)
    assert "more than 16 kB of cookies (1 times)" in lines(caplog)[-1]


@pytest.mark.threat("LOG-04")
@pytest.mark.parametrize("proxies", [(), ("192.0.2.0/24", "unix")])
async def test_start_says_how_it_is_set_up(
    proxies: tuple[str, ...], dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One line at the start has the version, the schema, the cookie, the audience and the proxies, and no secret."""
    caplog.set_level(logging.INFO, "aiosess")
    async with visit(make_app(dsn, trusted_proxies=proxies, audience="shop")):
        (line,) = lines(caplog)
    shown = ", ".join(proxies) or "none"
    assert line == (
        f"aiosess 0.1.0: tables of version 1 in the schema public, cookie {COOKIE}, audience shop, "
        f"trusted proxies {shown}"
    )
