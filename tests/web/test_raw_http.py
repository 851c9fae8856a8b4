"""Bytes over a socket that a client library would never send: hostile cookies, forged tokens, pipelined requests."""

import asyncio
import json
import logging
import random
import secrets
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web

from aiosess import events
from aiosess._token.keys import Keyring
from aiosess._token.token import new_token
from tests.world.ageing import make_due
from tests.world.app import SECRET, make_app
from tests.world.cookies import session_id
from tests.world.databases import logged_pool
from tests.world.site import Site, visit
from tests.world.wire import COOKIE, Reply, Wire, request_bytes, set_cookies

NAME = COOKIE.encode()


@pytest.fixture
async def token(site: Site) -> bytes:
    """Return a token that alice is signed in with."""
    return await token_of(site, "alice")


async def token_of(site: Site, user: str) -> bytes:
    """Sign a user in and return the token."""
    browser = await (await site.browser()).login(user)
    assert browser.token is not None
    return browser.token.encode()


async def ask(site: Site, *headers: bytes) -> Reply:
    """Ask /me on a connection of its own."""
    wire = await site.wire()
    try:
        return await wire.ask(request_bytes("/me", *headers))
    finally:
        await wire.close()


def segment(raw: bytes) -> bytes:
    """Return base64url without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=")


# Bytes in the cookie's value


@pytest.mark.threat("TOK-01")
@pytest.mark.parametrize("where", ["token", "rubbish"])
async def test_every_byte_in_the_value(where: str, site: Site, token: bytes) -> None:
    """Each of the 256 bytes, put into a good token or into rubbish, makes the request anonymous or 400, never 500."""
    half = len(token) // 2
    before, after = (token[:half], token[half:]) if where == "token" else (b"abc", b"def")
    answers = []
    for byte in range(256):
        reply = await ask(site, b"Cookie: %s=%s%c%s" % (NAME, before, byte, after))
        assert reply.status in {200, 400}, byte
        if reply.status == 200:
            assert reply.user is None, byte
        assert not set_cookies(reply)
        answers.append(reply.status)
    # What is no part of an HTTP header is refused by aiohttp's parser; the rest has to reach us, or this shows nothing.
    assert answers.count(200) > 200
    assert (await ask(site, b"Cookie: %s=%s" % (NAME, token))).user == "alice"


@pytest.mark.threat("TOK-01")
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b".",
        b"..",
        b"...",
        b"=",
        b"a.b.c",
        b"\x80abc",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xed\xb2\x80.\xed\xb2\x80.\xed\xb2\x80",
        b"\xc3\x28",
        b"\xf0\x9f\xa6\x8a",
        b"%00",
        b"null",
        b"[" * 1000,
        b"." * 1000,
        b"a" * 1025,
        b"a" * 8000,
        segment(b'{"alg":"HS256"}') + b"." + segment(b"[" * 500) + b"." + b"a" * 43,
        segment(b"[" * 190) + b"." + segment(b"{}" * 20) + b"." + b"a" * 43,
        segment(b'{"a":' * 38) + b"." + segment(b'{"a":' * 100) + b"." + b"a" * 43,
        segment(b"\xff" * 30) + b"." + segment(b"\xff" * 30) + b"." + b"a" * 43,
        segment(b'{"alg":"HS256","kid":"\\ud800","typ":"aiosess+jwt"}') + b"." + segment(b"{}" * 20) + b"." + b"a" * 43,
        segment(b'{"alg":"HS256","kid":[],"typ":"aiosess+jwt"}') + b"." + segment(b"{}" * 20) + b"." + b"a" * 43,
    ],
)
async def test_hostile_values_are_anonymous(value: bytes, site: Site) -> None:
    """Fact 4: surrogates, deep nesting, odd UTF-8 and shapes near a token's are "nobody", never an error."""
    reply = await ask(site, b"Cookie: %s=%s" % (NAME, value))
    assert (reply.status, reply.user, set_cookies(reply)) == (200, None, [])


@pytest.mark.threat("TOK-01")
async def test_large_values_are_anonymous(dsn: str) -> None:
    """100,000 brackets are "nobody" even where aiohttp is told to let such headers in."""
    options = {"max_field_size": 1 << 20, "max_line_size": 1 << 20}
    async with visit(make_app(dsn), **options) as site:
        reply = await ask(site, b"Cookie: %s=%s" % (NAME, b"[" * 100_000))
        assert (reply.status, reply.user) == (200, None)
    async with visit(make_app(dsn)) as site:
        assert (await ask(site, b"Cookie: %s=%s" % (NAME, b"[" * 100_000))).status == 400


async def test_fact_3_aiohttps_parser_defeats_the_prefix() -> None:
    """The parser of aiohttp finds our cookie where no browser has put one; when this fails, aiohttp has changed."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=request.cookies.get(COOKIE, "none"))

    app = web.Application()
    app.router.add_get("/me", handler)
    async with visit(app) as site:
        assert (await ask(site, b"Cookie: x=1 %s=evil" % NAME)).body == b"evil"
        assert (await ask(site, b"Cookie: x=1", b"Cookie: %s=good" % NAME)).body == b"none"
        assert (await ask(site, b"Cookie: %s=good; %s=evil" % (NAME, NAME))).body == b"evil"


# One cookie among others


@pytest.mark.threat("COO-02")
@pytest.mark.parametrize(
    "headers",
    [
        [b"Cookie: %s"],
        [b"cookie: %s"],
        [b"COOKIE:%s"],
        [b"Cookie: \t%s \t"],
        [b"Cookie: a=1; %s"],
        [b"Cookie: a=1;%s;b=2"],
        [b"Cookie: a=1; \t%s\t ; b=2"],
        [b"Cookie: ;;;; %s ;;"],
        [b"Cookie: a; %s; =b"],
        [b'Cookie: a="x; %s; y"'],
        [b"Cookie: a=1", b"Cookie: %s"],
        [b"Cookie: %s", b"Cookie: a=1"],
        [b"Cookie: %s", b"Cookie: %s"],
        [b"Cookie: %s; %s"],
        [b"Cookie: \xff\x80=\xc3\x28; %s"],
    ],
)
async def test_cookie_is_found(headers: list[bytes], site: Site, token: bytes) -> None:
    """Our cookie is read among others, in any Cookie header, and twice if both are the same."""
    pair = NAME + b"=" + token
    reply = await ask(site, *(header.replace(b"%s", pair) for header in headers))
    assert (reply.status, reply.user) == (200, "alice")


@pytest.mark.threat("COO-02")
@pytest.mark.parametrize(
    "header",
    [
        b"Cookie: a=1 %n=%v",
        b"Cookie: a=1, %n=%v",
        b"Cookie: a=1\t%n=%v",
        b"Cookie: a=1\x0b%n=%v",
        b"Cookie: a=1;\x0b%n=%v",
        b"Cookie: a=1;\x0c%n=%v",
        b"Cookie: a=1;\x1f%n=%v",
        b"Cookie: a=1;\x85%n=%v",
        b"Cookie: a=1;\xa0%n=%v",
        b"Cookie: a=1;\xc2\xa0%n=%v",
        b"Cookie: a=1&%n=%v",
        b"Cookie: %n =%v",
        b"Cookie: %n= %v",
        b'Cookie: %n="%v"',
        b"Cookie: %n='%v'",
        b'Cookie: "%n"=%v',
        b"Cookie: %n==%v",
        b"Cookie: =%n=%v",
        b"Cookie: x%n=%v",
        b"Cookie: %nx=%v",
        b"Cookie: %N=%v",
        b"Cookie: session=%v",
        b"Cookie: $Version=1 %n=%v",
        b"Cookie: %5f%5fHost-session=%v",
        b'Cookie: %n="\\137%v"',
        b"Cookie: %n=%v.",
        b"Cookie: %n=%v=",
        b"Cookie2: %n=%v",
        b"X-Cookie: %n=%v",
        b"Authorization: Bearer %v",
    ],
)
async def test_cookie_is_not_found(header: bytes, site: Site, token: bytes) -> None:
    """Fact 3: no white space but SP and HTAB around a pair, no quotes, escapes or other name yields our cookie."""
    reply = await ask(site, header.replace(b"%n", NAME).replace(b"%N", NAME.upper()).replace(b"%v", token))
    assert reply.status in {200, 400}
    if reply.status == 200:
        assert reply.user is None


@pytest.mark.threat("COO-03")
@pytest.mark.parametrize("layout", ["one header", "two headers", "far apart"])
@pytest.mark.parametrize("order", list(permutations(("alice", "mallory"))))
async def test_two_sessions_are_nobody(
    layout: str, order: tuple[str, str], site: Site, happened: list[events.Event]
) -> None:
    """Two different sessions in one request are neither of them, in whatever order and headers, and are told once."""
    tokens = {user: await token_of(site, user) for user in ("alice", "mallory")}
    first, second = (NAME + b"=" + tokens[user] for user in order)
    happened.clear()
    headers = {
        "one header": [b"Cookie: " + first + b"; " + second],
        "two headers": [b"Cookie: " + first, b"Cookie: " + second],
        "far apart": [b"Cookie: a=1; " + first, b"X-Other: 1", b"Cookie: b=2; " + second + b"; c=3"],
    }[layout]
    reply = await ask(site, *headers, b"User-Agent: curl/8.16.0")
    assert (reply.status, reply.user, set_cookies(reply)) == (200, None, [])
    (event,) = happened
    assert isinstance(event, events.CookieConflicted)
    assert (event.presenter.ip, event.presenter.device_name) == ("127.0.0.1", "curl")
    for token in tokens.values():
        assert (await ask(site, b"Cookie: " + NAME + b"=" + token)).user is not None


@pytest.mark.threat("COO-03")
@pytest.mark.parametrize("planted", [b"", b"x", b"deleted"])
@pytest.mark.parametrize("first", [False, True])
async def test_rubbish_beside_the_session_is_a_conflict_too(
    planted: bytes, site: Site, token: bytes, happened: list[events.Event], *, first: bool
) -> None:
    """A planted value need not be a token to make the request anonymous: which one is planted nobody can tell."""
    happened.clear()
    pairs = [b"%s=%s" % (NAME, value) for value in ((planted, token) if first else (token, planted))]
    assert (await ask(site, b"Cookie: " + b"; ".join(pairs))).user is None
    assert [type(event) for event in happened] == [events.CookieConflicted]


# Forged tokens


def forge(token: bytes) -> bytes:
    """Return something that looks like the token and was not signed by us."""
    header, payload, signature = token.split(b".")
    kind = random.randrange(5)  # noqa: S311 - which forgery, no secret
    if kind == 0:
        return b".".join((header, payload, segment(secrets.token_bytes(32))))
    if kind == 1:
        return b".".join((header, segment(secrets.token_bytes(len(payload) * 3 // 4)), signature))
    if kind == 2:
        return segment(b'{"alg":"none","typ":"aiosess+jwt"}') + b"." + payload + b"." + segment(secrets.token_bytes(32))
    if kind == 3:
        stranger = Keyring(secrets.token_bytes(32))
        return stranger.sign(new_token(uuid4(), 1, datetime.now(UTC) + timedelta(days=1)), "aiosess").encode()
    return segment(secrets.token_bytes(random.randrange(1, 300)))  # noqa: S311 - a length, no secret


@pytest.mark.threat("TOK-13")
async def test_forged_cookies_cost_nothing(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """10,000 forged cookies make no query and no line in the log, and the honest user is still there."""
    async with logged_pool(dsn) as (pool, statements), visit(make_app(dsn, pool=pool), access_log=None) as site:
        token = await token_of(site, "alice")
        forgeries = [forge(token) for _ in range(500)]
        statements.clear()
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "aiosess"):

            async def attack(wire: Wire, share: int) -> None:
                requests = [
                    # Each one is another text, so that no memory of texts can help.
                    request_bytes("/me", b"Cookie: %s=%s%d" % (NAME, forgeries[n % len(forgeries)], share + n))
                    for n in range(2500)
                ]
                sender = asyncio.create_task(wire.send(*requests))
                for _ in requests:
                    reply = await wire.read()
                    assert (reply.status, reply.user, set_cookies(reply)) == (200, None, [])
                await sender

            await asyncio.gather(*[attack(await site.wire(), share * 2500) for share in range(3)])
            exact = await site.wire()
            await asyncio.gather(
                exact.send(*(request_bytes("/me", b"Cookie: %s=%s" % (NAME, each)) for each in forgeries * 5)),
                *[anonymous(exact, len(forgeries) * 5)],
            )
        assert statements == []
        assert caplog.records == []
        assert (await ask(site, b"Cookie: %s=%s" % (NAME, token))).user == "alice"


async def anonymous(wire: Wire, count: int) -> None:
    """Read so many answers, and see that nobody was signed in for any."""
    for _ in range(count):
        reply = await wire.read()
        assert (reply.status, reply.user, set_cookies(reply)) == (200, None, [])


def signed(session_id: UUID, version: int = 1) -> bytes:
    """Return a token with a random secret that is rightly signed with the site's key."""
    token = new_token(session_id, version, datetime.now(UTC) + timedelta(days=1))
    return Keyring(SECRET).sign(token, "aiosess").encode()


@pytest.mark.threat("SES-10")
async def test_valid_signature_without_a_row(site: Site, pg: asyncpg.Connection) -> None:
    """A token that is rightly signed and has no row is nobody, makes no row, and sets or deletes no cookie."""
    page = (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document")
    for _ in range(3):
        reply = await ask(site, b"Cookie: %s=%s" % (NAME, signed(uuid4())), *page)
        assert (reply.status, reply.user, set_cookies(reply)) == (200, None, [])
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 0
    assert await pg.fetchval("select count(*) from aiosess_logins") == 0


@pytest.mark.threat("SES-10")
async def test_dead_token_is_asked_about_once(dsn: str) -> None:
    """A session's end is final, so that its cookie costs one query and no more."""
    async with logged_pool(dsn) as (pool, statements), visit(make_app(dsn, pool=pool)) as site:
        cookie = b"Cookie: %s=%s" % (NAME, signed(uuid4()))
        assert (await ask(site, cookie)).user is None
        assert statements != []
        statements.clear()
        assert (await ask(site, cookie)).user is None
        # asyncpg's own reset of the first query's connection may come late.
        assert [text for text in statements if "aiosess" in text] == []


@pytest.mark.threat("KEY-03")
@pytest.mark.parametrize("version", [1, 2, 1000])
async def test_signing_key_alone_forges_nothing(
    version: int, site: Site, token: bytes, happened: list[events.Event]
) -> None:
    """Whoever has the key but not the session's secret does not get in, and cannot end the session either."""
    forged = signed(session_id(token.decode()), version)
    happened.clear()
    assert (await ask(site, b"Cookie: %s=%s" % (NAME, forged))).user is None
    assert happened == []
    assert (await ask(site, b"Cookie: %s=%s" % (NAME, token))).user == "alice"


# Many requests on few connections


def session_of(token: str | None) -> UUID | None:
    """Return the session that a cookie's value belongs to; None: there is none."""
    return Keyring(SECRET).verify(token, "aiosess").session_id if token else None


async def slow(request: web.Request) -> web.Response:
    """Say who asks, before and after others had their turn, and what the request has written."""
    sessions, number = request["sessions"], request.query["n"]
    user = sessions.user_id
    await asyncio.sleep(0)
    if user is not None:
        await sessions.set("n", number)
    assert sessions.user_id == user
    return web.json_response({"user": user, "n": number, "data": sessions.get("n")})


@pytest.mark.threat("SES-13")
async def test_pipelined_requests_never_mix(dsn: str, pg: asyncpg.Connection) -> None:
    """200 requests of two users and nobody, pipelined on four connections, get their own user's answer and cookie."""
    async with visit(make_app(dsn, web.get("/slow", slow))) as site:
        tokens = {user: await token_of(site, user) for user in ("alice", "bob", "carol")}
        ids = {user: session_of(token.decode()) for user, token in tokens.items()}
        given: list[str] = []

        async def talk(wire: Wire, number: int) -> None:
            users = random.Random(number).choices([None, "alice", "bob"], k=25)  # noqa: S311 - no secret
            for n, user in enumerate(users):
                cookies = [b"Cookie: %s=%s" % (NAME, tokens[user])] if user else []
                await wire.send(request_bytes(f"/slow?n={number}.{n}", *cookies))
            for n, user in enumerate(users):
                reply, asked = await wire.read(), f"{number}.{n}"
                assert json.loads(reply.body) == {"user": user, "n": asked, "data": asked if user else None}
                if set_cookies(reply):
                    given.append(user or "nobody")
                    assert session_of(reply.token) == ids.get(given[-1])

        async def rotate() -> None:
            """Have one response after the other carry a cookie, while the others are under way."""
            for _ in range(10):
                token = (await site.present(tokens["carol"].decode(), "/do/rotate", method="POST")).token or ""
                assert session_of(token) == ids["carol"]
                tokens["carol"] = token.encode()

        wires = [await site.wire() for _ in range(4)]
        for turn in range(2):
            await make_due(pg, "user_id <> 'carol'")
            given.clear()
            await asyncio.gather(rotate(), *(talk(wire, 4 * turn + number) for number, wire in enumerate(wires)))
            assert sorted(given) == ["alice", "bob"]


@pytest.mark.threat("SES-13")
async def test_login_and_logout_do_not_leak_into_other_requests(site: Site) -> None:
    """On ten connections at once, logins and logouts set and delete the cookie of whoever asked, and of nobody else."""

    async def talk(wire: Wire, user: str) -> None:
        await wire.send(request_bytes(f"/login/{user}", method="POST"), request_bytes("/me"), request_bytes("/public"))
        login, *others = [await wire.read() for _ in range(3)]
        assert (others[0].user, [reply.token for reply in others]) == (None, [None, None])
        cookie = f"Cookie: {COOKIE}={login.token}".encode()
        logout = request_bytes("/do/logout", cookie, method="POST")
        await wire.send(request_bytes("/me", cookie), logout, request_bytes("/me"))
        replies = [await wire.read() for _ in range(3)]
        assert [reply.token for reply in replies] == [None, "", None]
        assert (replies[0].user, replies[2].user) == (user, None)

    await asyncio.gather(*[talk(await site.wire(), f"user{number}") for number in range(10)])
