"""aiosess in an application: setup() and its errors, pools, sub-applications, and how a handler reaches its session."""

import asyncio
import gc
import json
import logging
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession, DummyCookieJar, web

import aiosess
from tests.world.app import SECRET, make_app, routes
from tests.world.databases import logged_pool
from tests.world.site import visit
from tests.world.wire import COOKIE, set_cookies

DSN = "postgresql://nobody@127.0.0.1:1/nothing"  # never connected to by what only configures

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


# The options of setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "dsn, pool: give exactly one"),
        ({"dsn": DSN, "pool": web.AppKey("pool", asyncpg.Pool)}, "dsn, pool: give exactly one"),
        ({"dsn": 5}, "dsn: must not be of the type int"),
        ({"dsn": b"postgresql://"}, "dsn: must not be of the type bytes"),
        ({"pool": DSN}, "pool: must not be of the type str"),
        ({"pool": object()}, "pool: must not be of the type object"),
        ({"dsn": DSN, "config": {}}, "config: must not be of the type dict"),
        ({"dsn": DSN, "idle_timeuot": 5}, "idle_timeuot: there is no such option"),
        ({"dsn": DSN, "trusted_networks": ()}, "trusted_networks: there is no such option"),
        ({"dsn": DSN, "idle_timeout": 5}, "idle_timeout: must be a datetime.timedelta"),
        ({"dsn": DSN, "secret": "short"}, "secret: must be at least 32 bytes"),
        ({"dsn": DSN, "secret": "x" * 31}, "secret: must be at least 32 bytes"),
        ({"dsn": DSN, "secret": ""}, "secret: must be at least 32 bytes"),
        ({"dsn": DSN, "secret": []}, "secret: must be text, bytes, or a list"),
        ({"dsn": DSN, "secret": None}, "secret: must be text, bytes, or a list"),
        ({"dsn": DSN, "secret": [SECRET, 5]}, "secret: must be text or bytes"),
        ({"dsn": DSN, "secret": [SECRET, SECRET]}, "secret: the same secret is listed twice"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    """Each mistake is a ConfigError that names the option, and the application can still be set up rightly."""
    app = web.Application()
    with pytest.raises(aiosess.ConfigError, match=message) as caught:
        aiosess.setup(app, **{"secret": SECRET} | options)
    assert isinstance(caught.value, ValueError)
    aiosess.setup(app, secret=SECRET, dsn=DSN)


def test_secret_is_not_shown() -> None:
    """The error about a bad secret does not repeat it."""
    with pytest.raises(aiosess.ConfigError) as caught:
        aiosess.setup(web.Application(), secret="hunter2", dsn=DSN)
    assert "hunter2" not in str(caught.value)


def test_installing_twice() -> None:
    """The second setup() of one application is an error that says so."""
    app = web.Application()
    aiosess.setup(app, secret=SECRET, dsn=DSN)
    with pytest.raises(aiosess.ConfigError, match=r"setup\(\) was called twice"):
        aiosess.setup(app, secret=SECRET, dsn=DSN)


def test_installing_after_the_start() -> None:
    """An application that is frozen, or part of another, cannot be set up any more."""
    frozen, sub = web.Application(), web.Application()
    frozen.freeze()
    web.Application().add_subapp("/sub/", sub)
    for app in (frozen, sub):
        with pytest.raises(aiosess.ConfigError, match="before the application starts or is added to another"):
            aiosess.setup(app, secret=SECRET, dsn=DSN)


@pytest.mark.threat("COO-08")
def test_too_long_cookie_is_refused() -> None:
    """The longest cookie that the options can make is measured at start-up."""
    longest = {"cookie_name": "n" * 64, "audience": "a" * 64, "insecure_cookies": False}
    with pytest.raises(aiosess.ConfigError, match=r"cookie_name, audience: the cookie would take \d+ bytes"):
        aiosess.setup(web.Application(), secret=SECRET, dsn=DSN, **longest)


@pytest.mark.threat("COO-08")
async def test_cookies_are_short(dsn: str) -> None:
    """The longest audience and name that setup() takes give cookies of at most 512 bytes."""
    for length in range(64, 0, -1):
        try:
            app = make_app(dsn, audience="a" * length)
        except aiosess.ConfigError:
            continue
        break
    assert length > 1
    async with visit(app) as site:
        browser = await site.browser()
        for response in (await browser.post("/login/alice"), await browser.post("/do/rotate")):
            (cookie,) = set_cookies(response)
            assert len(cookie) <= 512


async def test_config_and_single_options_go_together(dsn: str) -> None:
    """Single options change a copy of the config."""
    config = aiosess.SessionConfig(cookie_samesite="Strict", cookie_name="first")
    async with visit(make_app(dsn, config=config, cookie_name="second")) as site:
        (cookie,) = set_cookies(await (await site.browser()).post("/login/alice"))
        assert cookie.startswith("__Host-second=")
        assert cookie.endswith("; SameSite=Strict")
    assert config.cookie_name == "first"


# Pools


async def test_pool_of_the_application_is_used_and_left_open(dsn: str) -> None:
    """A pool that was handed over still works after the application's end."""
    async with logged_pool(dsn) as (pool, statements):
        async with visit(make_app(dsn, pool=pool)) as site:
            browser = await (await site.browser()).login("alice")
            assert await browser.user() == "alice"
        assert any("aiosess_authenticate" in statement for statement in statements)
        assert not pool.is_closing()
        assert await pool.fetchval("select 1") == 1


POOL = web.AppKey("pool", asyncpg.Pool)


async def test_pool_under_a_key(dsn: str) -> None:
    """A pool that the application makes when it starts is found under its AppKey, and closed by nobody but it."""
    app = web.Application()
    closing: list[bool] = []

    async def make_pool(app: web.Application) -> AsyncIterator[None]:
        async with logged_pool(dsn) as (app[POOL], _):
            yield
            closing.append(app[POOL].is_closing())

    app.cleanup_ctx.append(make_pool)
    aiosess.setup(app, secret=SECRET, pool=POOL)
    app.add_routes(routes)
    async with visit(app) as site:
        assert await (await (await site.browser()).login("alice")).user() == "alice"
    assert closing == [False]


@pytest.mark.parametrize("value", [None, "postgresql://", object()])
async def test_no_pool_under_the_key(value: object) -> None:
    """When the application starts and the key holds no pool, it does not start, and says why."""
    app = web.Application()
    key = web.AppKey("pool", object)
    if value is not None:
        app[key] = value
    aiosess.setup(app, secret=SECRET, pool=key)  # type: ignore[arg-type]  # that is what is tested
    with pytest.raises(aiosess.ConfigError, match=r"pool: the application holds no asyncpg\.Pool"):
        async with visit(app):
            pass


async def test_pool_with_a_codec_for_jsonb(dsn: str) -> None:
    """Fact 8: a pool on which the application registered codecs for json and jsonb stores and reads the same data."""

    async def register(connection: asyncpg.Connection) -> None:
        for name in ("json", "jsonb"):
            await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")

    data = {"list": [1, 2.5, None, "\xe9"], "nested": {"a": {}}, "text": '{"a": 1}'}
    async with (
        asyncpg.create_pool(dsn, min_size=0, init=register) as pool,
        visit(make_app(dsn, pool=pool)) as site,
    ):
        browser = await site.browser()
        await browser.run(lambda s: s.authenticate("alice", data=data))
        await browser.run(lambda s: s.set("more", {"b": [{}]}))
        await browser.run(lambda s: s.remove_key("nested"))
        await browser.post("/do/rotate")
        (session,) = await site.store.list_for_user("alice")
        expected = {"list": data["list"], "text": data["text"], "more": {"b": [{}]}}
        assert dict(session.data) == expected
        assert (await (await browser.get("/me")).json())["data"] == expected


# How a handler reaches its session


async def test_three_ways_to_the_manager(dsn: str) -> None:
    """Text key, typed key and function give one and the same manager."""

    async def handler(request: web.Request) -> web.Response:
        manager = request["sessions"]
        assert isinstance(manager, aiosess.SessionManager)
        assert request[aiosess.SESSIONS] is manager
        assert aiosess.get_sessions(request) is manager
        assert "sessions" in request
        assert aiosess.SESSIONS in request
        assert list(request) == ["sessions"]
        return web.Response(text="same")

    async with visit(make_app(dsn, web.get("/same", handler))) as site:
        assert await (await (await site.browser()).get("/same")).text() == "same"


def test_sessions_key_is_no_other_key() -> None:
    """The typed key equals the text it stands for, itself, and nothing else."""
    other: web.RequestKey[str] = web.RequestKey("sessions", str)
    assert other != aiosess.SESSIONS
    assert aiosess.SESSIONS != "session"
    assert {aiosess.SESSIONS: 1, other: 2}[other] == 2


async def test_not_installed() -> None:
    """Without setup() the error names the remedy."""

    async def handler(request: web.Request) -> web.Response:
        with pytest.raises(aiosess.NotInstalled, match=r"aiosess\.setup\(app"):
            aiosess.get_sessions(request)
        return web.Response(text="told")

    app = web.Application()
    app.router.add_get("/", handler)
    async with visit(app) as site:
        assert await (await (await site.browser()).get("/")).text() == "told"


SCRIPT = f"""
import asyncio, sys
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
import aiosess

async def handler(request):
    assert request["sessions"] is aiosess.get_sessions(request)
    assert "sessions" in request
    assert request.get("sessions").user_id is None
    return web.Response(text="quiet")

async def main():
    app = web.Application()
    aiosess.setup(app, secret={SECRET!r}, dsn=sys.argv[1])
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client:
        for _ in range(2):
            print(await (await client.get("/")).text())

asyncio.run(main())
"""


def test_text_key_makes_no_warning(dsn: str) -> None:
    """Fact 6: in a fresh interpreter in which every warning is an error, the text key works."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, dsn], capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr) == ("quiet\nquiet\n", "")


# Middlewares that clone the request


@web.middleware
async def cloning(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Hand on another request object, as middlewares do that mend the scheme or the address."""
    return await handler(request.clone(scheme="https", remote="198.51.100.7"))


@pytest.mark.parametrize("where", ["outside", "inside"])
async def test_cloning_middleware(where: str, dsn: str) -> None:
    """Fact 2: whether the clone is made before or after our middleware, handler and cookie find the session."""
    app = make_app(dsn)
    app.middlewares.insert(0 if where == "outside" else len(app.middlewares), cloning)
    async with visit(app) as site:
        browser = await site.browser()
        response = await browser.post("/login/alice")
        assert len(set_cookies(response)) == 1
        assert response.headers["Vary"] == "Cookie"
        assert await browser.user() == "alice"
        assert len(set_cookies(await browser.post("/do/rotate"))) == 1
        assert await browser.user() == "alice"
        (session,) = await site.store.list_for_user("alice")
        assert session.ip == ("198.51.100.7" if where == "outside" else "127.0.0.1")
        assert len(set_cookies(await browser.post("/do/logout"))) == 1
        assert await browser.user() is None


# Sub-applications


async def test_setup_in_the_parent_serves_the_sub_application(dsn: str) -> None:
    """A sub-application without a setup() of its own has the parent's sessions."""
    sub = web.Application()
    sub.add_routes(routes)
    app = make_app(dsn)
    app.add_subapp("/sub/", sub)
    async with visit(app) as site:
        browser = await site.browser()
        assert len(set_cookies(await browser.post("/sub/login/alice"))) == 1
        assert await browser.user() == "alice"
        assert (await (await browser.get("/sub/me")).json())["user"] == "alice"


async def test_setup_in_a_sub_application_only(dsn: str) -> None:
    """The sub-application has sessions, the parent's own handlers have none."""

    async def parents(request: web.Request) -> web.Response:
        with pytest.raises(aiosess.NotInstalled):
            aiosess.get_sessions(request)
        return web.Response(text="none")

    app = web.Application()
    app.add_subapp("/sub/", make_app(dsn))
    app.router.add_get("/", parents)
    async with visit(app) as site:
        browser = await site.browser()
        assert len(set_cookies(await browser.post("/sub/login/alice"))) == 1
        response = await browser.get("/sub/me")
        assert (await response.json())["user"] == "alice"
        assert response.headers["Vary"] == "Cookie"
        assert await (await browser.get("/")).text() == "none"


async def test_parent_and_sub_application_with_a_setup_each(dsn: str) -> None:
    """Each has its own sessions under its own cookie, also within one browser, and neither touches the other's."""
    app = make_app(dsn, cookie_name="site")
    app.add_subapp("/sub/", make_app(dsn, cookie_name="sub", audience="sub", schema="sub"))
    async with visit(app) as site:
        browser = await site.browser()
        (cookie,) = set_cookies(await browser.post("/login/alice"))
        assert cookie.startswith("__Host-site=")
        (cookie,) = set_cookies(await browser.post("/sub/login/bob"))
        assert cookie.startswith("__Host-sub=")
        assert await browser.user() == "alice"
        assert (await (await browser.get("/sub/me")).json())["user"] == "bob"
        (cookie,) = set_cookies(await browser.post("/sub/do/logout"))
        assert cookie.startswith("__Host-sub=;")
        assert await browser.user() == "alice"
        assert (await (await browser.get("/sub/me")).json())["user"] is None


@pytest.mark.parametrize("deep", [False, True])
async def test_sub_application_with_the_same_cookie_is_refused(dsn: str, *, deep: bool) -> None:
    """An application does not start with one below it that has the same cookie, however deep."""
    below, app = make_app(dsn), make_app(dsn)
    if deep:
        between = web.Application()
        between.add_subapp("/deep/", below)
        below = between
    app.add_subapp("/sub/", below)
    with pytest.raises(aiosess.ConfigError, match=r"'__Host-session'|'session'.*only"):
        async with visit(app):
            pass


# What is not checked


def _look_in_vain(request: web.Request) -> None:
    """Ask who is there, and hear that nobody has checked."""
    try:
        assert aiosess.get_sessions(request).user_id is None
    except aiosess.NotChecked:
        return
    raise web.HTTPNotFound


@aiosess.unchecked
async def open_function(request: web.Request) -> web.Response:
    """Answer without a session."""
    _look_in_vain(request)
    return web.Response(text="open")


@aiosess.unchecked
class OpenView(web.View):
    """A class-based view that is open."""

    async def get(self) -> web.Response:
        """Answer without a session."""
        _look_in_vain(self.request)
        return web.Response(text="open")


@pytest.mark.parametrize("path", ["/function", "/view", "/files/open.txt"])
async def test_unchecked_requests_cost_no_query(path: str, dsn: str, tmp_path: Path) -> None:
    """Unchecked handlers, views and static files ask PostgreSQL nothing, whatever cookie comes, and set none."""
    (tmp_path / "open.txt").write_text("open")
    more = [
        web.get("/function", open_function),
        web.view("/view", OpenView),
        web.static("/files", tmp_path),
    ]
    async with logged_pool(dsn) as (pool, statements), visit(make_app(dsn, *more, pool=pool)) as site:
        browser = await (await site.browser()).login("alice")
        statements.clear()
        for _ in range(5):
            response = await browser.get(path)
            assert await response.text() == "open"
            assert not set_cookies(response)
            assert "Vary" not in response.headers
        assert statements == []
        await browser.get("/public")
        assert statements != []


async def test_unchecked_request_after_a_login_on_one_connection(dsn: str) -> None:
    """A request without a session never sends what an earlier one on its connection had to send."""
    async with visit(make_app(dsn, web.get("/function", open_function))) as site:
        wire = await site.wire()
        await wire.send(b"POST /login/alice HTTP/1.1\r\nHost: s\r\n\r\n", b"GET /function HTTP/1.1\r\nHost: s\r\n\r\n")
        assert len(set_cookies(await wire.read())) == 1
        reply = await wire.read()
        assert (reply.body, set_cookies(reply)) == (b"open", [])


async def test_checked_requests_without_a_cookie_cost_no_query(dsn: str) -> None:
    """Who comes without our cookie is anonymous without asking PostgreSQL."""
    async with logged_pool(dsn) as (pool, statements), visit(make_app(dsn, pool=pool)) as site:
        browser = await site.browser()
        statements.clear()
        assert await browser.user() is None
        assert statements == []


# Errors that leave a handler


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (aiosess.NotAuthenticated, 401),
        (aiosess.SessionRevoked, 401),
        (aiosess.SessionNotFound, 404),
        (aiosess.StoreUnavailable, 503),
        (aiosess.ResponseStarted, 500),
        (aiosess.SchemaMismatch, 500),
        (aiosess.SessionError, 500),
    ],
)
@pytest.mark.parametrize("own", [False, True], ids=["alone", "own error middleware"])
@pytest.mark.parametrize("sub", [False, True], ids=["", "sub"])
async def test_errors_become_responses(
    error: type[aiosess.SessionError], status: int, dsn: str, *, sub: bool, own: bool
) -> None:
    """
    An error that leaves a handler is its status, says nothing more, and is kept by no cache.

    So it is under an error middleware as in aiohttp's tutorial.
    """

    @web.middleware
    async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception:  # noqa: BLE001 - what the tutorial does
            return web.Response(status=500, text="sorry")

    async def failing(_request: web.Request) -> web.Response:
        raise error("private")  # noqa: EM101 - what must not get out

    route = web.get("/fail", failing)
    app = make_app(dsn, *([] if sub else [route]))
    if sub:
        inner = web.Application()
        inner.add_routes([route])
        app.add_subapp("/sub/", inner)
    if own:
        app.middlewares.append(error_middleware)
    async with visit(app) as site:
        response = await (await site.browser()).get("/sub/fail" if sub else "/fail")
        assert response.status == status
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers.get("Retry-After") == ("2" if status == 503 else None)
        assert "private" not in await response.text()
        assert not set_cookies(response)


async def test_applications_errors_are_its_own(dsn: str) -> None:
    """Exceptions that are none of ours pass through the middleware as they are."""
    caught: list[BaseException] = []

    @web.middleware
    async def catching(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except LookupError as error:
            caught.append(error)
            return web.Response(status=418)

    async def failing(_request: web.Request) -> web.Response:
        raise LookupError("its own")  # noqa: EM101, TRY003 - no message of ours

    app = make_app(dsn, web.get("/fail", failing))
    app.middlewares.insert(0, catching)
    async with visit(app) as site:
        assert (await (await site.browser()).get("/fail")).status == 418
    assert [str(error) for error in caught] == ["its own"]


# Secure and insecure cookies


@pytest.mark.threat("COO-10")
async def test_insecure_mode_is_explicit_and_loud(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """Only when it is asked for there is a cookie for plain http, and the log says so in capitals."""
    with caplog.at_level(logging.WARNING, "aiosess"):
        app = make_app(dsn, insecure_cookies=True)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "INSECURE" in caplog.text
    async with visit(app) as site, ClientSession(cookie_jar=DummyCookieJar()) as client:
        async with client.post(f"http://127.0.0.1:{site.port}/login/alice") as response:
            (cookie,) = set_cookies(response)
        assert cookie.startswith("session=")
        assert "Secure" not in cookie
        assert "; HttpOnly" in cookie
        headers = {"Cookie": cookie.partition(";")[0]}
        async with client.get(f"http://127.0.0.1:{site.port}/me", headers=headers) as response:
            assert (await response.json())["user"] == "alice"


@pytest.mark.threat("COO-10")
async def test_modes_do_not_take_one_anothers_cookies(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """A token that travelled over plain http is nothing to the secure site, under whichever name."""
    async with visit(make_app(dsn)) as site:
        token = (await (await site.browser()).login("alice")).token
        wire = await site.wire()
        reply = await wire.ask(f"GET /me HTTP/1.1\r\nHost: s\r\nCookie: session={token}\r\n\r\n".encode())
        assert json.loads(reply.body)["user"] is None
    assert "INSECURE" not in caplog.text


@pytest.mark.threat("COO-10")
@pytest.mark.parametrize(
    "header",
    [
        "X-Nothing: 1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Proto: http",
        "Forwarded: proto=http",
        "Front-End-Https: off",
    ],
)
async def test_cookie_is_secure_whatever_the_scheme_seems_to_be(header: str, dsn: str) -> None:
    """Plain http from a proxy that ends TLS, whatever it writes, gets the Secure cookie."""
    async with visit(make_app(dsn)) as site:
        wire = await site.wire()
        reply = await wire.ask(f"POST /login/alice HTTP/1.1\r\nHost: shop.example\r\n{header}\r\n\r\n".encode())
        (cookie,) = set_cookies(reply)
        assert cookie.startswith(f"{COOKIE}=")
        assert "; Secure;" in cookie


# Start and end


async def test_store_outside_of_a_request(dsn: str) -> None:
    """app[aiosess.STORE] lists, counts and revokes."""
    async with visit(make_app(dsn)) as site:
        browsers = [await (await site.browser()).login(user) for user in ("alice", "alice", "bob")]
        assert await site.store.count() == 3
        newest, _ = await site.store.list_for_user("alice")
        assert not newest.is_current
        await site.store.revoke(newest.id)
        with pytest.raises(aiosess.SessionNotFound):
            await site.store.revoke(str(newest.id))
        assert await site.store.revoke_user("alice") == 1
        assert [await browser.user() for browser in browsers] == [None, None, "bob"]
        assert await site.store.sweep() == 0


async def test_nothing_runs_on_after_the_end(dsn: str) -> None:
    """When the application has stopped, no task of ours is left, and its connections are closed."""
    before = asyncio.all_tasks()
    async with visit(make_app(dsn)) as site:
        await (await site.browser()).login("alice")
        store = site.store
    assert asyncio.all_tasks() == before
    with pytest.raises(aiosess.StoreUnavailable):
        await store.count()


async def test_requests_need_no_garbage_collector(dsn: str) -> None:
    """A request is freed when it is done: a cycle would leave each to the collector, and stop the world for it."""
    seen: list[weakref.ref[web.Request]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(weakref.ref(request))
        return web.Response(text=str(request["sessions"].user_id))

    async with visit(make_app(dsn, web.get("/seen", handler))) as site:
        browser = await (await site.browser()).login("alice")
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                assert await (await browser.get("/seen")).text() == "alice"
        finally:
            gc.enable()
        assert [ref() for ref in seen[:2]] == [None, None]  # the connection remembers its last request
