"""Who may open a WebSocket with the session: raw handshakes with every Origin, by the decorator and by the guard."""

import asyncio
from itertools import product

import pytest
from aiohttp import web

import aiosess
from tests.web.kinds import UPGRADE
from tests.world.app import make_app
from tests.world.browser import Browser
from tests.world.site import Site, visit
from tests.world.wire import COOKIE, Wire, request_bytes

PATIENCE = 60.0  # seconds
GUARDED = b"\x81\x07guarded"
REFUSED = b"\x88\x10" + (1008).to_bytes(2) + b"foreign origin"
CLOSE = b"\x88\x82\0\0\0\0" + (1008).to_bytes(2)  # as a client sends it, masked with zeros
APP = "https://app.example"


async def talk(request: web.Request) -> web.StreamResponse:
    """Open a WebSocket that is not guarded; other requests get a text."""
    websocket = web.WebSocketResponse()
    if not websocket.can_prepare(request):
        return web.Response(text="done")
    await websocket.prepare(request)
    await websocket.send_str("guarded")
    await websocket.close()
    return websocket


@aiosess.csrf_protected
async def protected(request: web.Request) -> web.StreamResponse:
    """Open a WebSocket for pages of ours."""
    return await talk(request)


async def guarded(request: web.Request) -> web.StreamResponse:
    """Guard the block and not the response, before the WebSocket opens."""
    async with request["sessions"].guard():
        return await talk(request)


pytestmark = pytest.mark.site(
    web.route("*", "/protected", protected), web.get("/guard", guarded), allowed_origins=(APP,)
)

GOOD = [[], [b"Origin: https://site"], [b"Origin: HTTPS://SITE:443"], [f"Origin: {APP}".encode()]]
FOREIGN = [
    [b"Origin: null"],
    [b"Origin: "],
    [b"Origin: https://evil.example"],
    [b"Origin: https://a.site"],
    [b"Origin: http://site"],
    [b"Origin: https://site:8443"],
    [b"Origin: https://a.app.example"],
    [b"Origin: https://site", b"Origin: https://site"],
    [b"Origin: https://evil.example", b"Origin: https://site"],
    [b"Origin: https://site", b"Origin: https://evil.example"],
    [b"Origin: https://evil.example", b"Sec-Fetch-Site: same-origin"],
]


def handshake(target: str, browser: Browser, *headers: bytes) -> bytes:
    """Return a handshake with a browser's cookie."""
    return request_bytes(target, f"Cookie: {COOKIE}={browser.token}".encode(), *UPGRADE, *headers)


async def first_bytes(wire: Wire, number: int) -> bytes:
    """Return what the server says first through an open WebSocket."""
    async with asyncio.timeout(PATIENCE):
        return await wire._reader.readexactly(number)


@pytest.mark.threat("WSO-01")
@pytest.mark.parametrize("headers", GOOD, ids=repr)
@pytest.mark.parametrize("target", ["/protected", "/guarded/socket", "/guard"])
async def test_page_of_ours_opens_a_socket(site: Site, ada: Browser, target: str, headers: list[bytes]) -> None:
    """Our own origin, an allowed one, and a client that is no browser get the WebSocket."""
    wire = await site.wire()
    assert (await wire.ask(handshake(target, ada, *headers))).status == 101
    assert await first_bytes(wire, len(GUARDED)) == GUARDED


@pytest.mark.threat("WSO-01")
@pytest.mark.parametrize("headers", FOREIGN, ids=repr)
async def test_guard_closes_a_socket_of_another_origin(site: Site, ada: Browser, headers: list[bytes]) -> None:
    """A WebSocket that another origin opened is closed with 1008, nothing of the block is said, and nothing follows."""
    wire = await site.wire()
    assert (await wire.ask(handshake("/guarded/socket", ada, *headers))).status == 101
    assert await first_bytes(wire, len(REFUSED)) == REFUSED
    await wire.send(CLOSE)
    async with asyncio.timeout(PATIENCE):
        assert await wire.rest() == b""
    assert site.installation.open_connections.is_empty


@pytest.mark.threat("WSO-01")
@pytest.mark.parametrize(("target", "status"), [("/protected", 403), ("/guard", 401)])
@pytest.mark.parametrize("headers", FOREIGN, ids=repr)
async def test_handshake_is_refused_before_it_opens(
    site: Site, ada: Browser, target: str, status: int, headers: list[bytes]
) -> None:
    """The decorator, and a guard around the whole handler, answer a handshake of another origin with an error."""
    assert (await (await site.wire()).ask(handshake(target, ada, *headers))).status == status


@pytest.mark.threat("WSO-01")
@pytest.mark.parametrize("upgrade", [b"Upgrade: WebSocket", b"UPGRADE: websocket ", b"upgrade: \twebSOCKET"])
@pytest.mark.parametrize("target", ["/protected", "/guarded/socket"])
async def test_spelling_of_the_upgrade_does_not_matter(site: Site, ada: Browser, target: str, upgrade: bytes) -> None:
    """However a handshake that aiohttp takes is spelled, its origin is looked at."""
    given = [upgrade, *(line for line in UPGRADE if not line.startswith(b"Upgrade"))]
    for origin, passes in ((b"Origin: https://site", True), (b"Origin: https://evil.example", False)):
        wire = await site.wire()
        reply = await wire.ask(
            request_bytes(target, f"Cookie: {COOKIE}={ada.token}".encode(), *given, origin, b"Connection: Upgrade")
        )
        assert reply.status == (101 if passes or target == "/guarded/socket" else 403)
        if reply.status == 101:
            assert await first_bytes(wire, 2) == (GUARDED if passes else REFUSED)[:2]


@pytest.mark.threat("WSO-01")
async def test_other_safe_requests_pass_from_everywhere(ada: Browser) -> None:
    """A link on another site leads to a protected handler, and a stream of another origin is the browser's matter."""
    headers = {"Origin": "https://evil.example", "Upgrade": "h2c"}
    assert (await ada.get("/protected", headers=headers)).status == 200
    response = await ada.client.get("/guarded/stream", headers=headers)
    assert await response.content.readexactly(7) == b"guarded"
    response.close()


@pytest.mark.threat("WSO-01")
@pytest.mark.parametrize(
    ("site_header", "origin"), list(product(("same-site", "cross-site", None), (APP, "https://x")))
)
async def test_allowed_origin_sends_forms_with_their_token(ada: Browser, site_header: str | None, origin: str) -> None:
    """A form of an allowed origin passes with its token and not without; one of another origin never does."""
    headers = {"Origin": origin} | ({} if site_header is None else {"Sec-Fetch-Site": site_header})
    assert (await ada.post("/protected", headers=headers)).status == 403
    form_token = await ada.run(_form_token)
    headers |= {"X-CSRF-Token": form_token}
    assert (await ada.post("/protected", headers=headers)).status == (200 if origin == APP else 403)


async def _form_token(sessions: aiosess.SessionManager) -> str:
    return sessions.form_token


@pytest.mark.threat("WSO-01")
async def test_plain_http_is_ours_only_with_insecure_cookies(dsn: str) -> None:
    """In development, where the cookie goes over plain http, so does the handshake; https is another origin then."""
    async with visit(make_app(dsn, insecure_cookies=True)) as site:
        browser = await site.browser()
        assert (await browser.post("/login/ada")).status == 200
        host = f"127.0.0.1:{site.port}"
        for scheme, said in (("http", "guarded"), ("https", None)):
            async with browser.client.session.ws_connect(
                f"http://{host}/guarded/socket", headers={"Origin": f"{scheme}://{host}"}
            ) as socket:
                message = await socket.receive(timeout=PATIENCE)
                assert message.data == (said or 1008)
