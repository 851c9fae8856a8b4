"""The application that the tests visit: make_app() and its routes."""

import asyncio
from datetime import timedelta
from typing import Any

from aiohttp import web

import aiosess
from tests.world.errands import PENDING
from tests.world.waiting import Gate

SECRET = "a-secret-for-tests-0123456789-abcdefghijk"
NEW_SECRET = "another-secret-for-tests-0123456789-zyxwvut"
GATE = web.AppKey("gate", Gate)

routes = web.RouteTableDef()


@routes.post("/login/{user}")
async def login(request: web.Request) -> web.Response:
    """Sign anybody in who asks."""
    await request["sessions"].authenticate(request.match_info["user"], remember="brief" not in request.query)
    return web.Response(text="in")


@routes.get("/me")
async def me(request: web.Request) -> web.Response:
    """Say who is asking."""
    sessions = request["sessions"]
    current = sessions.current
    return web.json_response(
        {
            "user": sessions.user_id,
            "id": current and str(current.id),
            "data": current and dict(current.data),
        }
    )


@routes.get("/public")
async def public(_request: web.Request) -> web.Response:
    """Answer without looking at who is asking."""
    return web.Response(text="public")


@routes.post("/set/{key}")
async def set_key(request: web.Request) -> web.Response:
    """Set a key of the data to the JSON in the body."""
    await request["sessions"].set(request.match_info["key"], await request.json())
    return web.Response(text="set")


@routes.post("/upload")
async def upload(request: web.Request) -> web.Response:
    """Note in the data that a body comes, take it, and say who sent it and whether they proved lately who they are."""
    sessions = request["sessions"]
    if sessions.is_authenticated:
        await sessions.set("upload", "begun")
    body = await request.read()
    fresh = sessions.is_fresh(timedelta(minutes=5))
    return web.json_response({"user": sessions.user_id, "fresh": fresh, "size": len(body)})


@routes.post("/do/{name}")
async def do(request: web.Request) -> web.Response:
    """Call a method of the manager that takes nothing and say what it returned."""
    result = await getattr(request["sessions"], request.match_info["name"])()
    return web.Response(text=repr(result))


@routes.post("/revoke/{id}")
async def revoke(request: web.Request) -> web.Response:
    """End one of the user's sessions."""
    await request["sessions"].revoke(request.match_info["id"])
    return web.Response(text="revoked")


@routes.get("/guarded/socket")
async def socket(request: web.Request) -> web.WebSocketResponse:
    """Say "guarded", then everything back that is said."""
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async with request["sessions"].guard(websocket):
        await websocket.send_str("guarded")
        async for message in websocket:
            await websocket.send_str(message.data)
    return websocket


@routes.get("/guarded/stream")
async def stream(request: web.Request) -> web.StreamResponse:
    """Say "guarded" and nothing more."""
    response = web.StreamResponse()
    await response.prepare(request)
    async with request["sessions"].guard(response):
        await response.write(b"guarded")
        await asyncio.Event().wait()
    return response


@routes.get("/gate")
async def wait(request: web.Request) -> web.Response:
    """Wait at the gate between the check of the request and the answer, which says who is asking."""
    user = request["sessions"].user_id
    await request.app[GATE].wait()
    if "writes" in request.query:
        await request["sessions"].set("key", "value")
    return web.json_response({"user": user})


@routes.post("/errand/{number}")
async def run_errand(request: web.Request) -> web.Response:
    """Do what Browser.run() was given."""
    errand = PENDING[request.match_info["number"]]
    try:
        errand.result = await errand.job(request["sessions"])
    except Exception as error:
        errand.error = error
        if isinstance(error, aiosess.SessionError):
            raise
        return web.Response(status=400)
    return web.Response(text="done")


def make_app(
    dsn: str, *more: web.AbstractRouteDef, page: dict[str, Any] | None = None, **options: Any
) -> web.Application:
    """Return the application with options of setup(), more routes, and the devices page if its options are given."""
    app = web.Application()
    app[GATE] = Gate()
    options.setdefault("secret", SECRET)
    if "pool" not in options:
        options["dsn"] = dsn
    aiosess.setup(app, **options)
    app.add_routes(routes)
    app.add_routes(more)
    if page is not None:
        aiosess.setup_devices(app, **page)
    return app
