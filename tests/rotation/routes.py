"""Routes of the tests of rotation over HTTP: ``@pytest.mark.site(*ROUTES)``."""

from datetime import timedelta

from aiohttp import web

FRESH_WITHIN = timedelta(minutes=5)


async def answer_fresh(request: web.Request) -> web.Response:
    """Say whether the user has proved lately who they are."""
    return web.json_response({"user": request["sessions"].user_id, "fresh": request["sessions"].is_fresh(FRESH_WITHIN)})


async def answer_cached(request: web.Request) -> web.Response:
    """Answer with the Cache-Control that was asked for, and look at nobody."""
    return web.Response(headers={"Cache-Control": request.query["control"]})


async def fail(request: web.Request) -> web.Response:
    """Return a status, or raise what becomes a 500."""
    if "status" in request.query:
        return web.Response(status=int(request.query["status"]))
    message = "as the test wants it"
    raise RuntimeError(message)


async def mark(request: web.Request) -> web.Response:
    """Set a key of the data."""
    await request["sessions"].set("key", "value")
    return web.Response()


ROUTES = (
    web.get("/fresh", answer_fresh),
    web.get("/cached", answer_cached),
    web.get("/fail", fail),
    web.post("/mark", mark),
)
