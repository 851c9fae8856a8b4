"""Cross-site request forgery: which requests are refused, what a form must carry, and how long it stays good."""

import re
from io import BytesIO
from itertools import product
from typing import Any

import asyncpg
import jinja2
import pytest
from aiohttp import web

import aiosess
from tests.world.app import SECRET, make_app
from tests.world.browser import Browser
from tests.world.relay import relayed
from tests.world.site import Site, visit
from tests.world.wire import COOKIE, Wire, request_bytes

OURS = b"Origin: https://site"
SAME = b"Sec-Fetch-Site: same-origin"
TRUSTED = {"Sec-Fetch-Site": "same-origin"}
SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
UNSAFE = ("POST", "PUT", "PATCH", "DELETE", "PURGE")
FORM = b"Content-Type: application/x-www-form-urlencoded"


@aiosess.csrf_protected
async def act(_request: web.Request) -> web.Response:
    """Do what a forger would like."""
    return web.Response(text="done")


@aiosess.csrf_protected(sign_in=True)
async def sign_in(request: web.Request) -> web.Response:
    """Sign in who is named."""
    await request["sessions"].authenticate((await request.post())["user"])
    return web.Response(text="in")


async def write(request: web.Request) -> web.Response:
    """Show a form again, with what the user has written, when its token is stale."""
    try:
        await aiosess.check_csrf(request)
    except aiosess.CsrfError as error:
        if error.reason != "stale token":
            raise
        text = str((await request.post())["text"])
        return web.Response(text=f"{aiosess.csrf_field(request)} {text}", status=error.status)
    return web.Response(text="written")


@aiosess.csrf_protected
async def sign_out(request: web.Request) -> web.Response:
    """Sign out."""
    await request["sessions"].logout()
    return web.Response(text="out")


@aiosess.csrf_protected
async def measure(request: web.Request) -> web.Response:
    """Say how long the body is; fails when somebody has read it before."""
    return web.Response(text=str(len(await request.content.read())))


async def page(request: web.Request) -> web.Response:
    """Show a form's field."""
    return web.Response(text=aiosess.csrf_field(request))


async def token(request: web.Request) -> web.Response:
    """Show a form's token."""
    return web.Response(text=request["sessions"].form_token)


class View(web.View):
    """A view with a protected method and one that is not."""

    @aiosess.csrf_protected
    async def post(self) -> web.Response:
        """Do what a forger would like."""
        return web.Response(text="done")

    async def put(self) -> web.Response:
        """Do what anybody may."""
        return web.Response(text="done")


class Pages:
    """A class whose methods are handlers."""

    @aiosess.csrf_protected
    async def act(self, _request: web.Request) -> web.Response:
        """Do what a forger would like."""
        return web.Response(text="done")


ROUTES = (
    web.route("*", "/act", act),
    web.post("/in", sign_in),
    web.post("/write", write),
    web.post("/out", sign_out),
    web.post("/measure", measure),
    web.get("/page", page),
    web.get("/token", token),
    web.view("/view", View),
    web.post("/method", Pages().act),
)
pytestmark = pytest.mark.site(*ROUTES)


@pytest.fixture
async def wire(site: Site) -> Wire:
    """Return a connection for raw bytes."""
    return await site.wire()


async def form_token(browser: Browser) -> str:
    """Return the form token that a browser is given."""
    return await (await browser.get("/token")).text()


async def act_with(browser: Browser, given: str, path: str = "/act") -> int:
    """Send the form with a token and return the status."""
    return (await browser.post(path, data={"csrf_token": given}, headers=TRUSTED)).status


def post(target: str, *headers: bytes, body: bytes = b"") -> bytes:
    """Return a POST with a body."""
    return request_bytes(target, *headers, b"Content-Length: %d" % len(body), method="POST") + body


# Where a request comes from

SITES = (None, "same-origin", "none", "same-site", "cross-site", "", "Same-Origin", "same-origin, cross-site")
ORIGINS = (
    None,
    "https://site",
    "http://site",
    "https://evil.example",
    "https://site.evil.example",
    "https://site@evil.example",
    "https://a.site",
    "https://site:8443",
    "https://site/",
    "null",
    "",
    "site",
)


@pytest.mark.threat("CSR-01")
@pytest.mark.parametrize(("fetch_site", "origin"), list(product(SITES, ORIGINS)))
async def test_unsafe_request_needs_a_page_of_ours(wire: Wire, fetch_site: str | None, origin: str | None) -> None:
    """Sec-Fetch-Site decides where it is present; else an Origin equal to ours does; without both it is 403."""
    headers = [
        f"{name}: {value}".encode()
        for name, value in (("Sec-Fetch-Site", fetch_site), ("Origin", origin))
        if value is not None
    ]
    passes = fetch_site in {"same-origin", "none"} or (fetch_site is None and origin == "https://site")
    reply = await wire.ask(request_bytes("/act", *headers, method="POST"))
    assert reply.status == (200 if passes else 403)


@pytest.mark.threat("CSR-01")
@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize(("header", "status"), [(SAME, 200), (b"Sec-Fetch-Site: cross-site", 403), (b"X: y", 403)])
async def test_every_unsafe_method_is_protected(wire: Wire, method: str, header: bytes, status: int) -> None:
    """Whatever is not GET, HEAD, OPTIONS or TRACE needs a page of ours, methods that nobody has heard of too."""
    assert (await wire.ask(request_bytes("/act", header, method=method))).status == status


@pytest.mark.threat("CSR-01")
@pytest.mark.parametrize("method", SAFE)
async def test_safe_methods_pass(site: Site, method: str) -> None:
    """A link from anywhere leads in."""
    wire = await site.wire()
    await wire.send(request_bytes("/act", b"Sec-Fetch-Site: cross-site", b"Connection: close", method=method))
    assert (await wire.rest()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.threat("CSR-01")
@pytest.mark.parametrize(
    "headers",
    [
        (SAME, b"Sec-Fetch-Site: cross-site"),
        (b"Sec-Fetch-Site: cross-site", SAME),
        (OURS, b"Origin: https://evil.example"),
        (b"Origin: https://evil.example", OURS),
    ],
)
async def test_header_that_comes_twice_is_no_header_of_ours(wire: Wire, headers: tuple[bytes, bytes]) -> None:
    """Of two answers neither is taken, in whatever order they come."""
    assert (await wire.ask(request_bytes("/act", *headers, method="POST"))).status == 403


@pytest.mark.threat("CSR-01")
async def test_origin_without_host_is_not_ours(wire: Wire) -> None:
    """A client of HTTP/1.0 that names no host cannot have come from it."""
    await wire.send(b"POST /act HTTP/1.0\r\n%b\r\n\r\n" % OURS)
    assert (await wire.rest()).startswith(b"HTTP/1.0 403 ")


@pytest.mark.threat("CSR-01")
@pytest.mark.parametrize(("scheme", "status"), [("http", 200), ("https", 403)])
async def test_insecure_cookies_expect_http(dsn: str, scheme: str, status: int) -> None:
    """In plain-http development our origin begins with http."""
    async with visit(make_app(dsn, *ROUTES, insecure_cookies=True)) as site:
        wire = await site.wire()
        request = request_bytes("/act", f"Origin: {scheme}://site".encode(), method="POST")
        assert (await wire.ask(request)).status == status


@pytest.mark.threat("CSR-01")
async def test_refusal_says_why_and_is_not_kept(wire: Wire) -> None:
    """A 403 names the reason and nothing of the session, and no cache keeps it."""
    reply = await wire.ask(request_bytes("/act", method="POST"))
    assert reply.body == b"403: Forbidden: the request does not come from a page of this site"
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.threat("CSR-05")
@pytest.mark.parametrize(
    ("headers", "data", "reason"),
    [
        ({}, {}, "origin"),
        ({"Sec-Fetch-Site": "cross-site"}, {"csrf_token": "x"}, "origin"),
        (TRUSTED, {}, "no token"),
        (TRUSTED, {"other": "x"}, "no token"),
        (TRUSTED, {"csrf_token": ""}, "stale token"),
        (TRUSTED, {"csrf_token": "x"}, "stale token"),
        (TRUSTED | {"X-CSRF-Token": "x"}, {}, "stale token"),
    ],
)
async def test_refusal_has_a_reason_in_json_too(
    ada: Browser, headers: dict[str, str], data: dict[str, str], reason: str
) -> None:
    """A script that asks for JSON reads the reason as problem+json; a browser reads a sentence."""
    reply = await ada.post("/act", data=data, headers=headers | {"Accept": "application/json"})
    assert (reply.status, reply.reason, reply.content_type) == (403, "Forbidden", "application/problem+json")
    assert reply.headers["Cache-Control"] == "no-store"
    problem = await reply.json(content_type="application/problem+json")
    detail = problem.pop("detail")
    assert problem == {"type": "urn:aiosess:problem:csrf", "title": "Forbidden", "status": 403, "reason": reason}
    reply = await ada.post("/act", data=data, headers=headers | {"Accept": "text/html,*/*;q=0.8"})
    assert (reply.content_type, await reply.text()) == ("text/plain", f"403: Forbidden: {detail}")


@pytest.mark.threat("CSR-05")
@pytest.mark.parametrize(
    ("origin", "host", "is_named"),
    [
        ("http://site", "site", True),
        ("http://site:8080", "site:8080", True),
        ("http://other", "site", False),
        ("https://other", "site", False),
    ],
)
async def test_form_over_plain_http_is_named(wire: Wire, origin: str, host: str, is_named: bool) -> None:  # noqa: FBT001 - a column
    """Where only the scheme is wrong, the refusal says so, and how to go on in development."""
    request = request_bytes("/act", f"Origin: {origin}".encode(), method="POST")
    reply = await wire.ask(request.replace(b"Host: site\r\n", f"Host: {host}\r\n".encode()))
    assert reply.status == 403
    assert (b"plain http" in reply.body and b"insecure_cookies=True" in reply.body) is is_named


@pytest.mark.threat("CSR-05")
async def test_application_shows_a_stale_form_again(site: Site, ada: Browser) -> None:
    """What the user wrote into a form that was rendered for nobody comes back in a form that works."""
    nobody = await (await (await site.browser()).get("/page")).text()
    assert 'value=""' in nobody
    again = await ada.post("/write", data={"csrf_token": "", "text": "my words"}, headers=TRUSTED)
    field, _, text = (await again.text()).partition("> ")
    assert (again.status, text) == (403, "my words")
    given = field.partition('value="')[2].rstrip('"')
    sent = await ada.post("/write", data={"csrf_token": given, "text": text}, headers=TRUSTED)
    assert await sent.text() == "written"
    assert (await ada.post("/write", data={"text": text}, headers=TRUSTED)).status == 403


# The form's token


@pytest.mark.threat("CSR-02")
@pytest.mark.parametrize("origin", [{}, TRUSTED])
async def test_signed_in_request_needs_page_and_token(ada: Browser, origin: dict[str, str]) -> None:
    """The token alone does not make a request good, nor does the page alone."""
    data = {"csrf_token": await form_token(ada)}
    assert (await ada.post("/act", data=data, headers=origin)).status == (200 if origin else 403)
    assert (await ada.post("/act", headers=origin)).status == 403


@pytest.mark.threat("CSR-02")
@pytest.mark.parametrize("way", ["urlencoded", "multipart", "header", "header of JSON"])
async def test_token_comes_in_the_form_or_the_header(ada: Browser, way: str) -> None:
    """Each kind of form can carry it, and a script sends the header with whatever body."""
    given = await form_token(ada)
    fields = {"csrf_token": given}
    ways: dict[str, dict[str, Any]] = {
        "urlencoded": {"data": fields},
        "multipart": {"data": {**fields, "file": BytesIO(b"bytes")}},
        "header": {"headers": {"X-CSRF-Token": given}},
        "header of JSON": {"headers": {"X-CSRF-Token": given}, "json": {}},
    }
    headers = TRUSTED | ways[way].pop("headers", {})
    assert (await ada.post("/act", headers=headers, **ways[way])).status == 200


@pytest.mark.threat("CSR-02")
@pytest.mark.parametrize("given", ["", "x" * 43, "é" * 43, "\0", "x" * 10_000])
async def test_wrong_token_is_refused(ada: Browser, given: str) -> None:
    """A text that is not this session's form token is 403, whatever it is made of."""
    assert await act_with(ada, given) == 403


@pytest.mark.threat("CSR-02")
async def test_wrong_header_is_not_mended_by_the_form(ada: Browser) -> None:
    """Where the header is present it is the one that counts."""
    data = {"csrf_token": await form_token(ada)}
    assert (await ada.post("/act", data=data, headers=TRUSTED | {"X-CSRF-Token": "x"})).status == 403


@pytest.mark.threat("CSR-02")
async def test_token_survives_rotation(ada: Browser) -> None:
    """A page that was loaded before the session's token was replaced can still be sent."""
    given, before = await form_token(ada), ada.token
    await ada.run(lambda sessions: sessions.rotate())
    assert ada.token != before
    assert await act_with(ada, given) == 200


@pytest.mark.threat("CSR-02")
async def test_token_of_another_session_is_refused(site: Site, ada: Browser) -> None:
    """Neither another user's form token is good nor that of the same user's other session or of an earlier login."""
    other, earlier = await (await site.browser()).login("ada"), await form_token(ada)
    mallory = await (await site.browser()).login("mallory")
    await ada.login("ada")
    for given in (await form_token(mallory), await form_token(other), earlier):
        assert await act_with(ada, given) == 403


@pytest.mark.threat("CSR-02")
@pytest.mark.threat("KEY-01")
async def test_token_survives_a_new_secret(dsn: str) -> None:
    """A page from before a new secret took over can still be sent; new pages carry the new key's token."""
    old, new = SECRET, "another-" + SECRET
    async with visit(make_app(dsn, *ROUTES, secret=old)) as site:
        browser = await (await site.browser()).login("ada")
        given, cookie = await form_token(browser), browser.token
    async with visit(make_app(dsn, *ROUTES, secret=[new, old])) as site:
        browser = await site.browser(cookie)
        assert await act_with(browser, given) == 200
        renewed = await form_token(browser)
        assert renewed != given
        assert await act_with(browser, renewed) == 200


MULTIPART = b"Content-Type: multipart/form-data; boundary=b"


@pytest.mark.threat("CSR-02")
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"Content-Type: multipart/form-data", b"x"),
        (MULTIPART, b"x"),
        (MULTIPART, b"--b\r\n\r\nx\r\n--b--\r\n"),
        (MULTIPART, b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n--b--\r\n"),
        (
            MULTIPART,
            b'--b\r\nContent-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: x\r\n\r\nx\r\n--b--\r\n',
        ),
        (MULTIPART, b'--b\r\nContent-Disposition: form-data; name="csrf_token"; filename="f"\r\n\r\nx\r\n--b--\r\n'),
        (MULTIPART, b"--b\r\n" + b"A: b\r\n" * 500 + b"\r\nx\r\n--b--\r\n"),
        (FORM + b"; charset=nonsense", b"csrf_token=x"),
        (FORM, b"csrf_token=\xff"),
        (b"Content-Type: application/json", b'{"csrf_token": "x"}'),
    ],
)
async def test_body_that_holds_no_form_is_refused(site: Site, ada: Browser, kind: bytes, body: bytes) -> None:
    """A form that is broken, or no form at all, holds no token: 403 and never an error of the server."""
    assert isinstance(ada.token, str)
    cookie = f"Cookie: {COOKIE}={ada.token}".encode()
    assert (await (await site.wire()).ask(post("/act", cookie, SAME, kind, body=body))).status == 403


@pytest.mark.threat("CSR-01")
@pytest.mark.parametrize("headers", [(), (SAME, b"X-CSRF-Token: x")])
async def test_body_is_not_waited_for_when_the_headers_refuse(
    site: Site, ada: Browser, headers: tuple[bytes, ...]
) -> None:
    """A forger's upload is refused before it has come in."""
    cookie = f"Cookie: {COOKIE}={ada.token}".encode()
    head = request_bytes("/act", cookie, *headers, FORM, b"Content-Length: 1000", method="POST")
    assert (await (await site.wire()).ask(head)).status == 403


async def test_header_leaves_the_body_to_the_handler(ada: Browser) -> None:
    """With the token in the header a handler streams its upload itself."""
    headers = TRUSTED | {"X-CSRF-Token": await form_token(ada)}
    reply = await ada.post("/measure", data={"a": "12345"}, headers=headers)
    assert (reply.status, await reply.text()) == (200, "7")


@pytest.mark.threat("DB-05")
async def test_unknown_session_is_neither_passed_nor_refused(dsn: str) -> None:
    """While PostgreSQL does not answer nobody knows whether a token is needed: 503."""
    async with relayed(dsn) as relay, visit(make_app(relay.dsn, *ROUTES)) as site:
        browser = await (await site.browser()).login("ada")
        given = await form_token(browser)
        await relay.close()
        assert await act_with(browser, given) == 503


@pytest.mark.threat("CSR-05")
async def test_fields_are_masked_and_the_token_is_not(ada: Browser) -> None:
    """Each rendering of a field has a text of its own, and each one is good; the token for scripts stays one text."""
    fields = [_value(await (await ada.get("/page")).text()) for _ in range(3)]
    tokens = [await form_token(ada) for _ in range(3)]
    assert (len(set(fields)), len(set(tokens))) == (3, 1)
    for given in (*fields, tokens[0]):
        assert await act_with(ada, given) == 200
        assert (await ada.post("/act", headers=TRUSTED | {"X-CSRF-Token": given})).status == 200


def _value(page: str) -> str:
    return page.partition(' value="')[2].rpartition('"')[0]


# Login and logout


@pytest.mark.threat("CSR-04")
async def test_cross_site_login_is_refused(wire: Wire, pg: asyncpg.Connection) -> None:
    """A foreign page cannot sign its visitor in as somebody else: 403, no row, no cookie."""
    for headers in ((b"Sec-Fetch-Site: cross-site",), (b"Origin: https://evil.example",), ()):
        reply = await wire.ask(post("/in", *headers, FORM, body=b"user=mallory"))
        assert (reply.status, reply.token) == (403, None)
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 0


@pytest.mark.threat("CSR-04")
async def test_our_login_form_needs_no_token(wire: Wire) -> None:
    """Nobody has a session yet when they sign in: the origin decides."""
    reply = await wire.ask(post("/in", SAME, FORM, body=b"user=ada"))
    assert (reply.status, bool(reply.token)) == (200, True)


@pytest.mark.threat("CSR-05")
async def test_sign_in_form_of_a_second_tab_works(site: Site, pg: asyncpg.Connection) -> None:
    """A form that was rendered for nobody signs in after another tab did; the first tab's session ends."""
    browser = await site.browser()
    first, second = [_value(await (await browser.get("/page")).text()) for _ in range(2)]
    for user, given in (("ada", first), ("grace", second)):
        reply = await browser.post("/in", data={"csrf_token": given, "user": user}, headers=TRUSTED)
        assert reply.status == 200
    assert await browser.user() == "grace"
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 1


@pytest.mark.threat("CSR-05")
async def test_sign_in_needs_our_origin_whoever_is_signed_in(ada: Browser) -> None:
    """The form token of the session that is there makes no foreign sign-in good, and nothing happens to the session."""
    given = await form_token(ada)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {}):
        reply = await ada.post("/in", data={"csrf_token": given, "user": "mallory"}, headers=headers)
        assert reply.status == 403
    assert await ada.user() == "ada"


@pytest.mark.threat("CSR-04")
async def test_forged_logout_is_refused(ada: Browser) -> None:
    """Neither a foreign page nor one without the token signs anybody out; ours does."""
    given = await form_token(ada)
    foreign = {"Sec-Fetch-Site": "same-site"}
    assert (await ada.post("/out", data={"csrf_token": given}, headers=foreign)).status == 403
    assert await act_with(ada, "", "/out") == 403
    assert await ada.user() == "ada"
    assert await act_with(ada, given, "/out") == 200
    assert await ada.user() is None


# Safe methods


async def row_of(pg: asyncpg.Connection) -> dict[str, Any]:
    """Return the only session's row but for whether and when it was active, and what follows from that."""
    row = dict(await pg.fetchrow("select * from aiosess_sessions"))
    activity = {"is_presented", "last_active_at", "expires_at", "revision"}
    return {name: value for name, value in row.items() if name not in activity}


@pytest.mark.threat("CSR-03")
async def test_safe_methods_change_nothing_but_last_active(site: Site, ada: Browser, pg: asyncpg.Connection) -> None:
    """Of all that a link or an image can do, the only trace in the table is when the session was last active."""
    await pg.execute("update aiosess_sessions set last_active_at = last_active_at - interval '1 hour'")
    before, was_active = await row_of(pg), await pg.fetchval("select last_active_at from aiosess_sessions")
    targets = ("/me", "/act", "/page", "/token", "/view", "/in", "/out", "/do/logout_all", "/set/key", "/nowhere")
    for method, target in product(SAFE, targets):
        await (await ada.client.request(method, target)).read()
    await site.installation.upkeep.flush()
    assert await row_of(pg) == before
    assert await pg.fetchval("select last_active_at > $1 from aiosess_sessions", was_active)


# Handlers and templates


@pytest.mark.threat("CSR-01")
@pytest.mark.parametrize("path", ["/view", "/method"])
async def test_methods_are_protected_like_functions(ada: Browser, path: str) -> None:
    """A method of a view, and one of a class of handlers, refuse and pass like a function."""
    assert await act_with(ada, "", path) == 403
    assert await act_with(ada, await form_token(ada), path) == 200


async def test_only_the_marked_method_is_protected(ada: Browser) -> None:
    """Other methods of a view stay as they were."""
    assert (await ada.client.put("/view")).status == 200


async def test_decorator_keeps_name_and_marks(dsn: str) -> None:
    """A protected handler has its own name, and is still unchecked if it was."""
    assert act.__name__ == "act"

    @aiosess.csrf_protected
    @aiosess.unchecked
    async def look(request: web.Request) -> web.Response:
        try:
            return web.json_response(request["sessions"].user_id)
        except aiosess.NotChecked:
            return web.Response(text="unchecked")

    async with visit(make_app(dsn, web.get("/unchecked", look))) as site:
        assert (await (await site.wire()).ask(request_bytes("/unchecked"))).body == b"unchecked"


async def test_check_without_sessions_names_the_remedy(dsn: str) -> None:
    """An unsafe request to an application without aiosess.setup() is no pass."""
    assert dsn
    app = web.Application()
    app.router.add_post("/act", act)
    async with visit(app) as site:
        assert (await (await site.wire()).ask(request_bytes("/act", SAME, method="POST"))).status == 500


@pytest.mark.parametrize("autoescape", [True, False])
async def test_field_goes_into_templates_and_texts(site: Site, autoescape: bool) -> None:  # noqa: FBT001 - both ways of Jinja
    """Jinja inserts the field as it is, with autoescape and without, and an f-string does the same."""
    environment = jinja2.Environment(autoescape=autoescape, enable_async=False)  # noqa: S701 - what is tested
    fields: list[str] = []

    async def show(sessions: aiosess.SessionManager) -> None:
        request: Any = {aiosess.SESSIONS: sessions}
        field = aiosess.csrf_field(request)
        fields.extend((environment.from_string("{{ field }}").render(field=field), f"{field}", field + ""))

    await (await (await site.browser()).login("ada")).run(show)
    assert len(set(fields)) == 1
    assert re.fullmatch(r'<input type="hidden" name="csrf_token" value="[A-Za-z0-9_-]{86}">', fields[0])


async def test_field_of_nobody_is_empty(site: Site) -> None:
    """A form that is shown before the login has its field all the same."""
    reply = await (await site.browser()).get("/page")
    assert await reply.text() == '<input type="hidden" name="csrf_token" value="">'


@pytest.mark.threat("COO-07")
@pytest.mark.parametrize("path", ["/page", "/token"])
async def test_form_token_counts_as_looking(site: Site, path: str) -> None:
    """A page with a form token differs for each visitor, and says so to caches."""
    assert (await (await site.browser()).get(path)).headers["Vary"] == "Cookie"


@pytest.mark.threat("COO-07")
async def test_refused_and_passed_requests_vary(ada: Browser) -> None:
    """What a protected handler answers depends on the cookie, once the session was looked at."""
    assert (await ada.post("/act", headers=TRUSTED)).headers["Vary"] == "Cookie"
