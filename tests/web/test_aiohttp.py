"""Facts about aiohttp that the library is built on; if one of these tests fails, aiohttp has changed."""

import sys

import pytest
from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from tests.web.kinds import EVERY_KIND, KINDS, Handler, ask
from tests.world.site import visit
from tests.world.wire import COOKIE, set_cookies

KINDS_OF_PREPARE = [kind for kind in EVERY_KIND if not kind[1].startswith("/sub")]


@pytest.mark.parametrize(("method", "path", "status"), KINDS_OF_PREPARE)
async def test_fact_1_headers_work_in_on_response_prepare_and_set_cookie_does_not(
    method: str, path: str, status: int
) -> None:
    """A set_cookie() is dropped in on_response_prepare without a word; headers.add() works for every response."""

    async def add(_request: web.Request, response: web.StreamResponse) -> None:
        response.set_cookie("dropped", "1")
        response.headers.add("Set-Cookie", "kept=1")

    app = web.Application()
    app.add_routes(KINDS)
    app.on_response_prepare.append(add)
    async with visit(app) as site:
        reply = await ask(await site.wire(), method, path)
        assert reply.status == status
        assert set_cookies(reply) == ["kept=1"]


@pytest.mark.parametrize(("method", "path", "sent"), [("GET", "/plain", 1), ("GET", "/stream", 0)])
async def test_fact_1_a_middleware_is_too_late_for_streams(method: str, path: str, sent: int) -> None:
    """A header that a middleware adds to the response it gets back is missing on a stream."""

    @web.middleware
    async def add(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        response.headers.add("Set-Cookie", "late=1")
        return response

    app = web.Application(middlewares=[add])
    app.add_routes(KINDS)
    async with visit(app) as site:
        assert len(set_cookies(await ask(await site.wire(), method, path))) == sent


def test_fact_5_del_cookie_omits_secure() -> None:
    """The deletion of aiohttp has no Secure, so browsers ignore it for a __Host- name."""
    response = web.Response()
    response.del_cookie(COOKIE)
    assert "secure" not in response.cookies[COOKIE].output().lower()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python 3.14 knows the attribute")
def test_fact_5_partitioned_fails() -> None:
    """Partitioned cookies cannot be made with the standard library before Python 3.14."""
    with pytest.raises(Exception, match="partitioned"):
        web.Response().set_cookie("name", "value", partitioned=True)


@pytest.mark.parametrize("told", [False, True])
async def test_fact_11_test_client_keeps_secure_cookies_to_itself(*, told: bool) -> None:
    """The test client sends a Secure cookie to http://127.0.0.1 only if its jar is told that this is safe."""

    async def handler(request: web.Request) -> web.Response:
        response = web.Response(text=request.headers.get("Cookie", ""))
        response.headers.add("Set-Cookie", "__Host-a=1; Path=/; Secure")
        return response

    app = web.Application()
    app.router.add_get("/", handler)
    server = TestServer(app)
    await server.start_server()
    origin = str(server.make_url("/").origin())
    jar = CookieJar(unsafe=True, treat_as_secure_origin=origin) if told else CookieJar(unsafe=True)
    async with TestClient(server, cookie_jar=jar) as client:
        await client.get("/")
        response = await client.get("/")
        assert await response.text() == ("__Host-a=1" if told else "")
