"""A browser that brings back an old session cookie: what the version cookie does about it, over HTTP."""

import logging
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

import aiosess
from aiosess import events
from aiosess._token.version_cookie import encode_version
from tests.rotation.steps import of_kind, row, settle
from tests.world.ageing import age, make_due
from tests.world.app import make_app
from tests.world.cookies import KEYS, read
from tests.world.site import Site, visit
from tests.world.wire import COOKIE, VERSION_COOKIE, Reply, set_cookies

pytestmark = pytest.mark.threat("ROT-12")


def pair(token: str, version: str | None) -> str:
    """Return the rest of a Cookie header that begins with the session cookie's name."""
    return token if version is None else f"{token}; {VERSION_COOKIE}={version}"


async def sign_in(site: Site, *, brief: bool = True) -> Reply:
    """Sign ada in for as long as the browser runs, or for longer."""
    return await site.present("none", "/login/ada" + "?brief" * brief, method="POST")


async def rotated(site: Site, pg: asyncpg.Connection, held: str) -> str:
    """Let what a browser sends be replaced by a successor that settles; return what the browser sends then."""
    await make_due(pg)
    reply = await site.present(held)
    assert reply.token
    assert reply.version
    held = pair(reply.token, reply.version)
    await settle_pair(site, pg, held)
    return held


async def settle_pair(site: Site, pg: asyncpg.Connection, held: str) -> None:
    """Let a new token be used, and used again after the overlap."""
    assert (await site.present(held)).user == "ada"
    await settle(site, pg, held)


async def several_rotations(site: Site, pg: asyncpg.Connection) -> tuple[str, str]:
    """Sign in, rotate three times, and return the login's token and the version cookie of now; hours go by."""
    first = (await sign_in(site)).token
    assert first
    held = first
    for _ in range(3):
        held = await rotated(site, pg, held)
    await age(pg, 3600)
    return first, held.partition(f"{VERSION_COOKIE}=")[2]


# What is sent


async def test_login_sends_no_version_cookie(site: Site) -> None:
    """A login has one token so far: nothing older can come back."""
    reply = await sign_in(site)
    assert len(set_cookies(reply)) == 1
    assert reply.version is None


async def test_successor_brings_a_lasting_version_cookie(site: Site, pg: asyncpg.Connection) -> None:
    """The session cookie ends with the browser, the version cookie with the session; the rest is the same."""
    token = (await sign_in(site)).token
    assert token
    await make_due(pg)
    brief, lasting = set_cookies(await site.present(token))
    assert brief.split("; ")[1:] == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]
    path, max_age, *others = lasting.split("; ")[1:]
    assert [path, *others] == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]
    assert 90 * 86_400 - 5 <= int(max_age.removeprefix("Max-Age=")) <= 90 * 86_400
    new = read(brief.partition(";")[0].partition("=")[2])
    assert lasting.startswith(f"{VERSION_COOKIE}={new.version}.{new.id}.{new.parent_id}.")


@pytest.mark.parametrize("method", ["rotate", "reauthenticated"])
async def test_rotation_on_purpose_brings_one_too(site: Site, method: str) -> None:
    """A token that rotate() or reauthenticated() makes comes with its version cookie."""
    token = (await sign_in(site)).token
    assert token
    reply = await site.present(token, f"/do/{method}", method="POST")
    assert reply.token
    assert reply.version == encode_version(read(reply.token), KEYS.version_keys[0])


async def test_session_that_outlives_the_browser_has_one_cookie(site: Site, pg: asyncpg.Connection) -> None:
    """With remember=True nothing changes: one cookie, at rotations of both kinds."""
    token = (await sign_in(site, brief=False)).token
    assert token
    await make_due(pg)
    for reply in (await site.present(token), await site.present(token, "/do/rotate", method="POST")):
        assert reply.token
        assert len(set_cookies(reply)) == 1


# What comes back


@pytest.mark.parametrize("headers", [1, 2])
async def test_old_session_cookie_goes_on(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], headers: int
) -> None:
    """A killed Firefox comes back with the login's cookie, hours and three rotations old, and is still signed in."""
    first, version = await several_rotations(site, pg)
    before = await row(pg)
    if headers == 1:
        reply = await site.present(pair(first, version))
    else:
        reply = await site.present(first, "/me", f"Cookie: a=b; {VERSION_COOKIE}={version}".encode())
    assert reply.user == "ada"
    assert (await row(pg))["token_id"] == before["token_id"]
    assert of_kind(happened, events.ReuseDetected) == []


async def test_restored_browser_rotates_on(site: Site, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """Its next successor is a child of the newest token, so the session goes on as if nothing had happened."""
    first, version = await several_rotations(site, pg)
    current = (await row(pg))["token_id"]
    await make_due(pg)
    reply = await site.present(pair(first, version))
    assert reply.token
    assert (read(reply.token).version, read(reply.token).parent_id) == (5, current)
    held = pair(reply.token, reply.version)
    await settle_pair(site, pg, held)
    # It is killed again, and again, and comes back each time with what it had at the login.
    for _ in range(2):
        held = await rotated(site, pg, pair(first, held.partition(f"{VERSION_COOKIE}=")[2]))
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("ROT-04")
async def test_old_session_cookie_alone_is_a_copy(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """Without its version cookie an old session cookie is a stolen one: the session ends, with an alarm."""
    first, version = await several_rotations(site, pg)
    assert (await site.present(first)).user is None
    assert len(of_kind(happened, events.ReuseDetected)) == 1
    assert (await site.present(pair(first, version))).user is None


@pytest.mark.threat("ROT-04")
async def test_thief_with_both_cookies_is_found(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A thief who copied the pair is told from the owner by the next rotation, as with one cookie."""
    first, version = await several_rotations(site, pg)
    stolen = pair(first, version)
    held = await rotated(site, pg, stolen)
    await age(pg, 3600)
    assert (await site.present(stolen)).user is None
    assert len(of_kind(happened, events.ReuseDetected)) == 1
    assert (await site.present(held)).user is None


async def test_version_cookie_alone_is_nobody(site: Site, pg: asyncpg.Connection) -> None:
    """The version cookie is worth nothing alone, and nothing happens to the session or to the cookie."""
    first, version = await several_rotations(site, pg)
    reply = await site.present(f"none; {VERSION_COOKIE}={version}")
    assert reply.user is None
    assert set_cookies(reply) == []
    wire = await site.wire()
    await wire.send(f"GET /me HTTP/1.1\r\nHost: site\r\nCookie: {VERSION_COOKIE}={version}\r\n\r\n".encode())
    reply = await wire.read()
    assert reply.user is None
    assert set_cookies(reply) == []
    assert (await site.present(pair(first, version))).user == "ada"


async def test_version_cookie_of_another_session_is_ignored(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A version cookie that an earlier session left behind, or a stranger made up, hurts nobody."""
    _, version = await several_rotations(site, pg)
    token = (await sign_in(site)).token
    assert token
    forged = encode_version(replace(read(token), version=9, id="AAAAAAAAAAA"), b"x" * 32)
    for planted in (version, forged, "", "9.AAAAAAAAAAA..", "nonsense"):
        assert (await site.present(pair(token, planted))).user == "ada"
    assert of_kind(happened, events.ReuseDetected) == []
    assert of_kind(happened, events.WentBack) == []


@pytest.mark.threat("COO-03")
async def test_two_version_cookies_decide_nothing(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """Two different ones make the request anonymous, with an event, as two session cookies do; nothing ends."""
    first, version = await several_rotations(site, pg)
    for one, other in ((version, "x"), ("x", version)):
        reply = await site.present(f"{first}; {VERSION_COOKIE}={one}; {VERSION_COOKIE}={other}")
        assert reply.user is None
        assert set_cookies(reply) == []
    assert len(of_kind(happened, events.CookieConflicted)) == 2
    assert of_kind(happened, events.ReuseDetected) == []
    same = f"{first}; {VERSION_COOKIE}={version}; {VERSION_COOKIE}={version}"
    assert (await site.present(same)).user == "ada"


async def test_rotate_leaves_version_cookies_behind(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """
    A version cookie says nothing of a new secret.

    A successor arrives that is never used, the application calls rotate() in
    another tab, and the browser sends the new token with the version cookie
    of the successor: both have version 2.
    """
    token = (await sign_in(site)).token
    assert token
    await make_due(pg)
    version = (await site.present(token)).version
    new = (await site.present(token, "/do/rotate", method="POST")).token
    assert new
    assert (await site.present(pair(new, version))).user == "ada"
    assert of_kind(happened, events.ReuseDetected) == []


# What is deleted


async def test_logout_deletes_both(site: Site, pg: asyncpg.Connection) -> None:
    """A logout deletes both cookies, with all their attributes."""
    first, version = await several_rotations(site, pg)
    reply = await site.present(pair(first, version), "/do/logout", method="POST")
    assert set(set_cookies(reply)) == {
        f"{name}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax" for name in (COOKIE, VERSION_COOKIE)
    }


@pytest.mark.parametrize("brief", [True, False])
async def test_login_deletes_an_earlier_version_cookie(site: Site, pg: asyncpg.Connection, *, brief: bool) -> None:
    """A login over an earlier session deletes the version cookie that came with the request, good or bad."""
    first, version = await several_rotations(site, pg)
    for held in (pair(first, version), pair("none", "nonsense"), pair("none", f"a; {VERSION_COOKIE}=b")):
        reply = await site.present(held, "/login/ada" + "?brief" * brief, method="POST")
        assert reply.token
        assert reply.version == ""


async def test_login_after_rotate_in_one_request_sends_no_version_cookie(site: Site) -> None:
    """What the earlier session was about to be sent does not go out with the new one."""
    browser = await site.browser()

    async def both(sessions: aiosess.SessionManager) -> None:
        await sessions.authenticate("ada", remember=False)
        await sessions.rotate()
        await sessions.authenticate("bob", remember=False)

    await browser.run(both)
    version = [line for line in set_cookies(browser.reply) if line.startswith(VERSION_COOKIE)]
    assert version == [f"{VERSION_COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"]


@pytest.mark.threat("ROT-11")
async def test_no_version_cookie_is_deleted_in_passing(site: Site, pg: asyncpg.Connection) -> None:
    """Whatever else is answered to a dead session, or by a session that outlives the browser, leaves it alone."""
    first, version = await several_rotations(site, pg)
    await site.store.revoke_user("ada")
    assert set_cookies(await site.present(pair(first, version))) == []
    token = (await sign_in(site, brief=False)).token
    assert token
    await make_due(pg)
    reply = await site.present(pair(token, version))
    assert reply.token
    assert reply.version is None


@pytest.mark.threat("COO-10")
async def test_insecure_mode(dsn: str, pg: asyncpg.Connection) -> None:
    """Over plain http the version cookie has no prefix either, and works the same way."""
    async with visit(make_app(dsn, insecure_cookies=True, cookie_name="id")) as site:
        wire = await site.wire()
        await wire.send(b"POST /login/ada?brief HTTP/1.1\r\nHost: site\r\n\r\n")
        (line,) = set_cookies(await wire.read())
        held = line.partition(";")[0]
        await make_due(pg)
        await wire.send(f"GET /me HTTP/1.1\r\nHost: site\r\nCookie: {held}\r\n\r\n".encode())
        _, lasting = set_cookies(await wire.read())
        version = lasting.partition(";")[0]
        assert version.startswith("id-version=2.")
        await wire.send(f"GET /me HTTP/1.1\r\nHost: site\r\nCookie: {held}; {version}\r\n\r\n".encode())
        assert (await wire.read()).user == "ada"
        assert (await row(pg))["version"] == 2


# How long a browser may take to write its cookies


@pytest.mark.parametrize(("seconds", "warns"), [(34.9, True), (35, False), (60, False)])
def test_overlap_that_is_shorter_than_chromium_takes(
    caplog: pytest.LogCaptureFixture, seconds: float, *, warns: bool
) -> None:
    """Below 35 seconds the log says once at start what happens to a Chromium that is killed."""
    make_app("postgresql://nowhere", rotation_overlap=timedelta(seconds=seconds))
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [message.startswith(f"rotation_overlap is {seconds:g} s.") for message in said] == [True] * warns
