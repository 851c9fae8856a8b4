"""The devices page as its users see it, with nothing but HTML: DEV-01 to DEV-07."""

import asyncio
import re
from datetime import timedelta
from typing import Any, get_args
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import jwt
import pytest
from aiohttp import web

import aiosess
from aiosess.devices import local_path
from aiosess.devices.texts import ENGLISH, GERMAN
from aiosess.session import DeviceType
from tests.world.ageing import age
from tests.world.app import make_app
from tests.world.databases import logged_pool, session_count
from tests.world.devices import (
    OURS,
    PAGE,
    SAFARI,
    STALE,
    UNKNOWN,
    WAYS,
    absolute,
    add_sessions,
    form_token,
    location,
    page_site,
    send,
    signed_in,
    text_of,
)
from tests.world.relay import relayed
from tests.world.site import Site, visit
from tests.world.wire import request_bytes

pytestmark = pytest.mark.site(page={"reauthenticate": "/prove", "after_logout": "/public"})  # /prove proves who it is


# The list


async def test_this_device_comes_first_and_is_marked(site: Site, pg: asyncpg.Connection) -> None:
    """The session that asks stands first and is marked, though another one was active later."""
    browser, _ = await signed_in(site), await signed_in(site, headers=SAFARI)
    await age(pg, 3600, "device_name like 'Firefox%'")
    text = await (await browser.get(PAGE)).text()
    assert text.count('class="as-mark"') == 1
    assert text.index("Firefox on Linux") < text.index("This device") < text.index("Safari on iOS")
    assert 'aria-label="Computer"' in text
    assert 'aria-label="Phone"' in text


async def test_times_are_relative_with_the_exact_one_beside(site: Site, pg: asyncpg.Connection) -> None:
    """A time reads as people tell it; the exact one, in UTC, is its title and its datetime."""
    browser = await signed_in(site)
    await pg.execute("update aiosess_sessions set created_at = '2026-05-01 07:08:09+02', last_active_at = created_at")
    text = await (await browser.get(PAGE)).text()
    assert '<time datetime="2026-05-01T05:08:09+00:00" title="2026-05-01 05:08:09 UTC">on 1 May 2026</time>' in text


async def test_one_session_alone(site: Site) -> None:
    """Who is signed in on one device only reads so, and is offered to end nothing else."""
    text = await (await (await signed_in(site)).get(PAGE)).text()
    assert "on this device only" in text
    assert "end-others" not in text
    assert "sign-out-everywhere" not in text


async def test_no_session_at_all(dsn: str, pg: asyncpg.Connection) -> None:
    """A list that was emptied while the page was made says so."""
    async with page_site(dsn, with_options={"max_staleness": timedelta(minutes=1)}) as site:
        browser = await signed_in(site)
        await browser.get("/me")
        await pg.execute("delete from aiosess_sessions")
        text = await (await browser.get(PAGE)).text()
    assert "There are no sessions" in text


async def test_paging_past_fifty(dsn: str, pg: asyncpg.Connection) -> None:
    """Fifty to a page; each session is on one of them, this one on the first, and a page too far is the last one."""
    async with page_site(dsn) as site:
        browser = await signed_in(site)
        await add_sessions(pg, 119)
        await age(pg, 3 * 86400, "device_name like 'Firefox%'")  # the least active of all
        pages = [await text_of(browser, f"{PAGE}?page={number}") for number in (1, 2, 3)]
        beyond = [
            await (await browser.get(f"{PAGE}?page={number}")).text() for number in ("4", "999999", "0", "-1", "x")
        ]
    found = [re.findall(r'<li class="as-row[^"]*" id="as-([^"]+)"', page) for page in pages]
    assert [len(ids) for ids in found] == [50, 50, 20]
    assert len({session for ids in found for session in ids}) == 120
    assert "This device" in pages[0]
    assert "Page 2 of 3" in pages[1]
    assert 'rel="prev" href="/account/devices?page=1"' in pages[1]
    assert 'rel="next" href="/account/devices?page=3"' in pages[1]
    assert ["Page 3 of 3" in page for page in beyond] == [True, True, False, False, False]
    assert all("Page 1 of 3" in page for page in beyond[2:])


async def test_a_hundred_thousand_sessions(dsn: str, pg: asyncpg.Connection) -> None:
    """The page of somebody with 100,000 sessions takes three queries at most."""
    async with logged_pool(dsn) as (pool, statements), page_site(dsn, with_options={"pool": pool}) as site:
        browser = await signed_in(site)
        await add_sessions(pg, 100_000)
        await pg.execute("analyze aiosess_sessions")
        await browser.get(PAGE)
        statements.clear()
        response = await browser.get(PAGE)
        assert len([text for text in statements if "aiosess_sessions" in text and "update" not in text]) <= 3
        assert "100001 devices" in await response.text()


async def test_weight(site: Site) -> None:
    """The page of somebody with ten sessions, its stylesheet, script and icon are under 40 kB, uncompressed."""
    browsers = [await signed_in(site) for _ in range(10)]
    text = await text_of(browsers[0], PAGE)
    assets = re.findall(r'(?:href|src)="(/account/devices/devices\.[^"]+)"', text)
    assert len(assets) == 3
    sizes = [len(await (await browsers[0].get(path)).read()) for path in assets]
    assert len(text.encode()) + sum(sizes) < 40_000


@pytest.mark.needs("w3m")
async def test_text_browser(site: Site) -> None:
    """In a text browser everything that the page shows and offers is there to read."""
    browser, _ = await signed_in(site), await signed_in(site, headers=SAFARI)
    page = await (await browser.get(PAGE)).read()
    command = ("w3m", "-dump", "-T", "text/html", "-cols", "100")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    shown = " ".join((await process.communicate(page))[0].decode().split())
    assert "Firefox on Linux This device Active now, Signed in just now, 127.0.0.1 Sign out: Firefox on Linux" in shown
    assert "Safari on iOS Active just now, Signed in just now, 127.0.0.1 End session: Safari on iOS" in shown
    assert "End all other sessions" in shown


# Ending


async def test_end_one(site: Site) -> None:
    """Link, question, form: the other session ends, this one stays, and the list says so once."""
    browser, other = await signed_in(site), await signed_in(site, headers=SAFARI)
    path = f"{await other.session_id()}/end"
    assert f'href="{PAGE}/{path}"' in await text_of(browser, PAGE)
    question = await (await browser.get(f"{PAGE}/{path}")).text()
    assert "End this session?" in question
    assert "Safari on iOS" in question
    assert await other.user() == "ada"
    response = await send(browser, path)
    assert (response.status, location(response)) == (303, f"{PAGE}?done=ended")
    assert "The session was ended." in await (await browser.get(f"{PAGE}?done=ended")).text()
    assert [await browser.user(), await other.user()] == ["ada", None]


async def test_end_others(site: Site) -> None:
    """All other sessions of the user end, nobody else's."""
    browser, other, grace = await signed_in(site), await signed_in(site), await signed_in(site, "grace")
    assert "End all other sessions?" in await (await browser.get(f"{PAGE}/end-others")).text()
    response = await send(browser, "end-others")
    assert location(response) == f"{PAGE}?done=others"
    assert [await who.user() for who in (browser, other, grace)] == ["ada", None, "grace"]


async def test_sign_out_everywhere(site: Site) -> None:
    """All sessions of the user end, this one too, and the browser is led to where the application wants it."""
    browser, other, grace = await signed_in(site), await signed_in(site), await signed_in(site, "grace")
    assert "Sign out everywhere?" in await (await browser.get(f"{PAGE}/sign-out-everywhere")).text()
    response = await send(browser, "sign-out-everywhere")
    assert location(response) == "/public"
    assert browser.token is None
    assert [await who.user() for who in (browser, other, grace)] == [None, None, "grace"]


async def test_end_this_one(site: Site, pg: asyncpg.Connection) -> None:
    """Signing out here needs no fresh proof; it clears the cookie and leaves the others."""
    browser, other = await signed_in(site), await signed_in(site)
    await age(pg, STALE)
    path = f"{await browser.session_id()}/end"
    assert "Sign out on this device?" in await (await browser.get(f"{PAGE}/{path}")).text()
    assert location(await send(browser, path)) == "/public"
    assert browser.token is None
    assert [await browser.user(), await other.user()] == [None, "ada"]


async def test_messages_are_named_never_quoted(site: Site) -> None:
    """The address names a message; text in it, and links from other sites, make the page say nothing."""
    browser = await signed_in(site)
    assert "as-notice" not in await (await browser.get(f"{PAGE}?done=You+won")).text()
    asked = await browser.get(f"{PAGE}?done=others", headers={"Sec-Fetch-Site": "cross-site"})
    assert "as-notice" not in await asked.text()


@pytest.mark.threat("DEV-01")
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_foreign_and_unknown_sessions_are_alike(site: Site, accept: str) -> None:
    """Somebody else's session, one that never was and what is no id get the same 404, and nothing ends."""
    browser, grace = await signed_in(site), await signed_in(site, "grace")
    headers, data = OURS | {"Accept": accept}, {"csrf_token": await form_token(browser)}
    foreign = str(await grace.session_id())
    answers = [
        await browser.post(f"{PAGE}/{session}/end", data=data, headers=headers)
        for session in (foreign, UNKNOWN, "x", "..%2f", foreign.upper())
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({await answer.text() for answer in answers}) == 1
    if accept == "text/html":
        asked = [await browser.get(f"{PAGE}/{session}/end") for session in (foreign, UNKNOWN, "x")]
        assert {answer.status for answer in asked} == {404}
        assert len({await answer.text() for answer in asked}) == 1
    assert await grace.user() == "grace"


@pytest.mark.threat("DEV-01")
async def test_only_own_sessions_are_listed(site: Site) -> None:
    """Nothing of another user's sessions is on the page."""
    browser, grace = await signed_in(site), await signed_in(site, "grace", SAFARI)
    text = await (await browser.get(PAGE)).text()
    assert str(await grace.session_id()) not in text
    assert "Safari" not in text


@pytest.mark.threat("DEV-02")
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_nothing_on_the_page_is_a_credential(site: Site, pg: asyncpg.Connection, accept: str) -> None:
    """No token, no part of one and no hash of a secret is in the list; what is in it lets nobody in."""
    browser, other = await signed_in(site), await signed_in(site)
    text = await (await browser.get(PAGE, headers={"Accept": accept})).text()
    for holder in (browser, other):
        assert holder.token is not None
        claims = jwt.decode(holder.token, options={"verify_signature": False})
        parts = [*holder.token.split("."), *(str(claims[name]) for name in ("sec", "jti"))]
        assert not [part for part in parts if part in text]
    for row in await pg.fetch(
        "select encode(secret_hash, 'hex') as hex, encode(secret_hash, 'base64') as b64, token_id from aiosess_sessions"
    ):
        assert not [value for value in row.values() if value in text]
    for word in set(re.findall(r"[A-Za-z0-9_.-]{20,}", text)):
        assert (await site.present(word)).user is None


@pytest.mark.threat("DEV-03")
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("way", [*WAYS, "one"])
async def test_ending_others_needs_a_recent_proof(site: Site, pg: asyncpg.Connection, way: str, method: str) -> None:
    """With an old sign-in every way to end others leads to the proof, and from there back; nothing has changed."""
    browser, other = await signed_in(site), await signed_in(site)
    path = f"{await other.session_id()}/end" if way == "one" else way
    token = await form_token(browser)
    await age(pg, STALE)
    response = await (browser.get(f"{PAGE}/{path}") if method == "get" else send(browser, path, token))
    assert (response.status, location(response)) == (303, f"/prove?next={PAGE}/{path}")
    assert [await browser.user(), await other.user()] == ["ada", "ada"]
    await browser.run(lambda sessions: sessions.reauthenticated())
    assert (await browser.get(f"{PAGE}/{path}")).status == 200
    assert (await send(browser, path, token)).status == 303
    assert await other.user() is None


@pytest.mark.threat("DEV-03")
async def test_without_a_page_for_the_proof(dsn: str, pg: asyncpg.Connection) -> None:
    """Where the application names no such page, an old sign-in gets a 403 that says what to do."""
    async with page_site(dsn) as site:
        browser, other = await signed_in(site), await signed_in(site)
        token = await form_token(browser)
        await age(pg, STALE)
        response = await send(browser, "end-others", token)
        assert response.status == 403
        assert "Please sign in again first" in await response.text()
        assert await other.user() == "ada"


@pytest.mark.threat("DEV-03")
async def test_page_for_the_proof_with_a_query(dsn: str, pg: asyncpg.Connection) -> None:
    """Where to go on is added to a query that the application's page already has."""
    async with page_site(dsn, reauthenticate="/prove?by=password", fresh_within=timedelta(hours=2)) as site:
        browser = await signed_in(site)
        await age(pg, 3600)
        assert (await browser.get(f"{PAGE}/end-others")).status == 200
        await age(pg, 3700)
        where = location(await browser.get(f"{PAGE}/end-others"))
        assert where == f"/prove?by=password&next={PAGE}/end-others"


# Escaping, headers, hostile input


@pytest.mark.threat("DEV-05")
@pytest.mark.parametrize(
    "path", ["", "/list", "/end-others", "/sign-out-everywhere", "/THIS/end", "/x/end", "?done=ended", "/events"]
)
async def test_headers(site: Site, path: str) -> None:
    """Every response of the page forbids foreign and inline content, frames, sniffing, referrers and storing."""
    browser = await signed_in(site)
    response = await browser.client.get(PAGE + path.replace("THIS", str(await browser.session_id())))
    policy = dict(part.strip().partition(" ")[::2] for part in response.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "form-action")} == {"'self'"}
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["Cache-Control"] == "no-store"
    if path == "/events":
        response.close()  # it would go on
    else:
        assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son[a-z]+=|javascript:", await response.text())


@pytest.mark.threat("DEV-05")
async def test_headers_of_refusals(site: Site) -> None:
    """The pages of those who are not signed in, or not from here, have the same headers."""
    browser = await signed_in(site)
    stranger = await (await site.browser()).get(PAGE)
    foreign = await browser.post(f"{PAGE}/end-others")
    assert [stranger.status, foreign.status] == [401, 403]
    for response in (stranger, foreign):
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.threat("DEV-05")
async def test_scripts_off(site: Site) -> None:
    """Every control of the page is a link or a form's button, so that nothing needs a script."""
    browser, other = await signed_in(site), await signed_in(site)
    below = ("", f"/{await other.session_id()}/end", "/end-others", "/sign-out-everywhere")
    pages = [await text_of(browser, PAGE + path) for path in below]
    assert "<button" not in pages[0]
    assert re.findall(r'<a class="as-button[^"]*" href="([^"]+)"', pages[0])[1:] == [PAGE + path for path in below[1:]]
    for page in pages[1:]:
        assert re.search(r'<form [^>]*method="post".*name="csrf_token".*<button .*</form>', page, re.DOTALL)


async def test_assets(site: Site) -> None:
    """Stylesheet, script and icon come from below the page's path, may be kept for good, and need no session."""
    text = await text_of(await signed_in(site), PAGE)
    stranger = await site.browser()
    for path in re.findall(r'(?:href|src)="(/account/devices/devices\.[^"]+)"', text):
        response = await stranger.get(path)
        assert response.status == 200
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert (await stranger.get(path.partition("?")[0])).headers["Cache-Control"] == "no-cache"


@pytest.mark.threat("DEV-06")
@pytest.mark.parametrize(
    "header",
    [
        b"User-Agent: " + b"x" * 60_000,
        b"User-Agent: " + b"x" * 8_000,
        b"User-Agent: \x01\x1b[31m\x80\xff",
        b"User-Agent: <script>alert(1)</script>/1.0 (<b>)",
        "User-Agent: \u202egnp.exe/1.0".encode(),
        b"X-Forwarded-For: 1.2.3.4, <script>, ::1, 300.1.1.1, " + b"9" * 500,
        b"X-Forwarded-For: \xff\xfe",
        b"Accept: " + b"application/json;q=" + b"9" * 4000,
        b"Accept: ;;;,,,q=x,\xff/\xff",
        b"Accept-Language: " + b"de-," * 1500,
        b"Accept-Language: \xff;q=\xff, *;q=NaN",
    ],
    ids=range(11),
)
async def test_hostile_headers_never_fail(dsn: str, header: bytes) -> None:
    """Signing in and asking with any header works, or is refused by the server's limits; it is never a 500."""
    async with page_site(dsn, with_options={"trusted_proxies": ("127.0.0.1",)}) as site:
        wire = await site.wire()
        reply = await wire.ask(request_bytes("/login/ada", header, b"Content-Length: 0", method="POST"))
        assert reply.status in {200, 400}
        if reply.status == 200:
            for path in (PAGE, f"{PAGE}/list", f"{PAGE}/end-others", f"{PAGE}/x/end"):
                answer = await site.present(reply.token or "", path, header)
                assert answer.status in {200, 404, 406}
                assert b"<script>alert" not in answer.body
                assert len(answer.body) < 40_000


@pytest.mark.parametrize("kind", get_args(DeviceType))
async def test_each_kind_has_a_picture_and_a_text(site: Site, pg: asyncpg.Connection, kind: str) -> None:
    """Each kind of device has its own icon, its text in English and German, and a place in the OpenAPI description."""
    browser = await signed_in(site)
    await pg.execute("update aiosess_sessions set device_type = $1", kind)
    text = await (await browser.get(PAGE)).text()
    assert f'<symbol id="as-{kind}"' in text
    assert f'href="#as-{kind}"' in text
    assert f'aria-label="{ENGLISH[kind]}"' in text
    assert kind in GERMAN
    described = await (await browser.get(f"{PAGE}/openapi.json")).text()
    assert f'"{kind}"' in described


async def test_a_kind_of_a_later_release_is_unknown(site: Site, pg: asyncpg.Connection) -> None:
    """A row whose kind a later release has written is shown as a device of unknown kind."""
    browser = await signed_in(site)
    await pg.execute("update aiosess_sessions set device_type = 'spaceship'")
    text = await (await browser.get(PAGE)).text()
    assert 'href="#as-unknown"' in text
    assert "spaceship" not in text


@pytest.mark.threat("DEV-06")
async def test_names_of_any_kind(site: Site, pg: asyncpg.Connection) -> None:
    """Whatever a row holds as name and address, the page shows it as text."""
    browser = await signed_in(site)
    await pg.execute(
        "update aiosess_sessions set device_name = $1, ip = $2, device_type = 'unknown'",
        "\"'><img src=x onerror=alert(1)>{{ 7*7 }}{count}",
        "<b>1.2.3.4</b>",
    )
    text = await (await browser.get(PAGE)).text()
    assert "<img" not in text
    assert "<b>" not in text
    assert "{{ 7*7 }}{count}" in text


@pytest.mark.threat("DEV-07")
@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("/", "/"),
        ("/account/devices?page=2", "/account/devices?page=2"),
        ("/a?to=//b/../c", "/a?to=//b/../c"),
        ("//evil", "/"),
        ("/\\evil", "/"),
        ("\\\\evil", "/"),
        ("/\t/evil", "/"),
        ("/a\n", "/"),
        ("/a/..//evil", "/"),
        ("/../..", "/"),
        ("https://evil", "/"),
        ("javascript:alert(1)", "/"),
        ("evil", "/"),
        ("", "/"),
        ("/\u2044evil", "/"),
        ("/a b", "/"),
        ("/" + "a" * 3000, "/"),
    ],
)
def test_local_path(path: str, result: str) -> None:
    """Only a plain path of this origin is a place to redirect to; all else leads home."""
    assert local_path(path) == result


@pytest.mark.threat("DEV-07")
async def test_redirects_stay_on_the_origin(site: Site) -> None:
    """No redirect of the page names a host, whatever the request says about hosts."""
    browser = await signed_in(site)
    token = await form_token(browser)
    headers = OURS | {"X-Forwarded-Host": "evil.example", "Referer": "https://evil.example/"}
    response = await browser.post(
        f"{PAGE}/end-others?next=//evil.example", data={"csrf_token": token, "next": "//evil.example"}, headers=headers
    )
    assert location(response) == f"{PAGE}?done=others"
    assert not urlsplit(response.headers["Location"]).netloc


# Cross-site requests


@pytest.mark.threat("CSR-01")
@pytest.mark.threat("CSR-02")
@pytest.mark.parametrize("way", [*WAYS, "UNKNOWN/end"])
async def test_forms_of_other_sites_and_sessions(site: Site, pg: asyncpg.Connection, way: str) -> None:
    """A form from elsewhere, without its token or with another session's is refused, and nothing ends."""
    browser, other = await signed_in(site), await signed_in(site)
    path, token = f"{PAGE}/{way.replace('UNKNOWN', UNKNOWN)}", await form_token(browser)
    tries = (
        (token, {"Sec-Fetch-Site": "cross-site"}),
        (token, {"Origin": "https://evil.example"}),
        (token, {}),
        ("", OURS),
        (await form_token(other), OURS),
    )
    for given, headers in tries:
        assert (await browser.post(path, data={"csrf_token": given}, headers=headers)).status == 403
    assert await session_count(pg) == 2


@pytest.mark.threat("CSR-02")
async def test_form_survives_rotation(site: Site) -> None:
    """A form that was loaded before the session's token was replaced still works."""
    browser, other = await signed_in(site), await signed_in(site)
    token = await form_token(browser)
    await browser.run(lambda sessions: sessions.rotate())
    assert (await send(browser, "end-others", token)).status == 303
    assert await other.user() is None


@pytest.mark.threat("CSR-03")
async def test_looking_changes_nothing(site: Site, pg: asyncpg.Connection) -> None:
    """GET on every route of the page leaves the table as it was."""
    browser, other = await signed_in(site), await signed_in(site)
    await browser.get("/me")
    await site.installation.upkeep.flush()
    before = await pg.fetch("select * from aiosess_sessions order by id")
    for path in (
        "",
        "/list",
        "/end-others",
        "/sign-out-everywhere",
        f"/{await other.session_id()}/end",
        "/openapi.json",
    ):
        assert (await browser.get(PAGE + path)).status == 200
        await browser._finished(await browser.client.head(PAGE + path))
    assert await pg.fetch("select * from aiosess_sessions order by id") == before


# Who is asking


async def test_not_signed_in(site: Site) -> None:
    """Without a session every route is a 401, and the fragment empty."""
    stranger = await site.browser()
    for path in ("", "/end-others", "/sign-out-everywhere", f"/{UNKNOWN}/end", "/events"):
        response = await stranger.get(PAGE + path)
        assert response.status == 401
        assert 'href="/public"' in absolute(await response.text(), PAGE + path)
    for path in ("end-others", "sign-out-everywhere", f"{UNKNOWN}/end"):
        assert (await stranger.post(f"{PAGE}/{path}", headers=OURS)).status == 401
    assert (await stranger.get(f"{PAGE}/list")).status == 204


async def test_application_may_lead_to_its_sign_in(dsn: str) -> None:
    """The 401 of the page is raised, so that a middleware of the application can redirect."""

    @web.middleware
    async def lead(request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPUnauthorized:
            location = "/sign-in"
            raise web.HTTPSeeOther(location) from None
        return response

    app = make_app(dsn)
    app.middlewares.append(lead)
    aiosess.setup_devices(app)
    async with visit(app) as site:
        assert (await (await site.browser()).get(PAGE)).headers["Location"] == "/sign-in"


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_outage(dsn: str, accept: str) -> None:
    """While PostgreSQL does not answer the page says so with 503, and the cookie stays."""
    brief = {"store_timeout": timedelta(seconds=0.3)}
    async with relayed(dsn) as relay, page_site(relay.dsn, with_options=brief) as site:
        browser = await signed_in(site)
        relay.swallows = True
        response = await browser.get(PAGE, headers={"Accept": accept})
        assert response.status == 503
        assert response.headers["Retry-After"] == "2"
        assert "Nobody was signed out" in await response.text()
        assert browser.token is not None


async def test_find(site: Site) -> None:
    """find() returns a session of the same user, and knows whether it is the current one."""
    browser, other, grace = await signed_in(site), await signed_in(site), await signed_in(site, "grace")
    ids = [str(await who.session_id()) for who in (browser, other, grace)]
    found = [await browser.run(lambda sessions, wanted=wanted: sessions.find(wanted)) for wanted in ids[:2]]
    assert [(str(session.id), session.is_current) for session in found] == [(ids[0], True), (ids[1], False)]
    for wanted in (ids[2], str(uuid4()), "x"):
        with pytest.raises(aiosess.SessionNotFound):
            await browser.run(lambda sessions, wanted=wanted: sessions.find(wanted))
