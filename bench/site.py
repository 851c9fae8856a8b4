"""
One small site, many ways to know who is asking; run as ``python -m bench.site KIND --port N …``.

All have the same two handlers: ``POST /login/{user}`` signs in, ``GET /`` says who is asking.
"""

import argparse
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import asyncpg
import jwt
from aiohttp import web

import aiosess

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Sites = dict[str, Callable[[argparse.Namespace], web.Application]]
SECRET = "benchmarks-only-0123456789-abcdefghijklmnop"  # noqa: S105 - guards nothing


def none(_arguments: argparse.Namespace) -> web.Application:
    """Serve without sessions: the speed that there is to lose."""
    app = web.Application()

    async def whoami(_request: web.Request) -> web.Response:
        return web.Response(text="hello somebody")

    async def login(_request: web.Request) -> web.Response:
        return web.Response(text="in")

    return _with_routes(app, whoami, login)


def empty(arguments: argparse.Namespace) -> web.Application:
    """Serve with a middleware and a response hook that do nothing: what aiohttp itself asks of whoever has both."""
    app = none(arguments)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request)

    async def hook(_request: web.Request, _response: web.StreamResponse) -> None:
        pass

    app.middlewares.append(middleware)
    app.on_response_prepare.append(hook)
    return app


def anonymous(arguments: argparse.Namespace) -> web.Application:
    """Serve with aiosess and a handler that never looks: what a page for everybody pays."""
    app = none(arguments)
    aiosess.setup(app, dsn=arguments.dsn, secret=SECRET, insecure_cookies=True)
    return app


def checked(arguments: argparse.Namespace, **options: timedelta) -> web.Application:
    """Serve with aiosess as it comes: every request is checked."""
    app = web.Application()
    aiosess.setup(app, dsn=arguments.dsn, secret=SECRET, insecure_cookies=True, **options)

    async def whoami(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {request['sessions'].user_id}")

    async def login(request: web.Request) -> web.Response:
        await request["sessions"].authenticate(request.match_info["user"])
        return web.Response(text="in")

    return _with_routes(app, whoami, login)


def stale(arguments: argparse.Namespace) -> web.Application:
    """Serve with aiosess that may rely on an answer of the last second."""
    return checked(arguments, max_staleness=timedelta(seconds=1))


def rotating(arguments: argparse.Namespace) -> web.Application:
    """Serve with every session due for rotation, and a lease of a second."""
    second = timedelta(seconds=1)
    return checked(arguments, rotate_every=second * 1.5, rotation_overlap=second, late_window=second)


def handwritten(arguments: argparse.Namespace) -> web.Application:
    """Serve with what people write: PyJWT, and the session's row by its primary key for each request."""
    pool_key = web.AppKey("pool", asyncpg.Pool)

    async def pool(app: web.Application) -> AsyncIterator[None]:
        async with asyncpg.create_pool(arguments.dsn, min_size=10, max_size=10) as made:
            await made.execute(
                """
                create table if not exists handwritten_sessions (
                    id uuid primary key, user_id text not null, data jsonb not null default '{}',
                    created_at timestamptz not null default now(), expires_at timestamptz not null
                )
                """
            )
            await made.execute("create index if not exists handwritten_user on handwritten_sessions (user_id)")
            app[pool_key] = made
            yield

    @web.middleware
    async def sessions(request: web.Request, handler: Callable[..., Awaitable[web.Response]]) -> web.Response:
        request["user"] = None
        token = request.cookies.get("session")
        if token is not None:
            try:
                claims = jwt.decode(token, SECRET, algorithms=["HS256"])
            except jwt.PyJWTError:
                return await handler(request)
            row = await request.app[pool_key].fetchrow(
                "select user_id, data from handwritten_sessions where id = $1 and expires_at > now()", claims["sid"]
            )
            request["user"] = row and row["user_id"]
        return await handler(request)

    async def whoami(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {request['user']}")

    async def login(request: web.Request) -> web.Response:
        session_id = secrets.token_hex(16)
        await request.app[pool_key].execute(
            "insert into handwritten_sessions (id, user_id, expires_at) values ($1, $2, now() + interval '30 days')",
            session_id,
            request.match_info["user"],
        )
        response = web.Response(text="in")
        token = jwt.encode({"sid": session_id, "exp": int(time.time()) + 30 * 86400}, SECRET, algorithm="HS256")
        response.set_cookie("session", token, httponly=True, samesite="Lax")
        return response

    app = web.Application(middlewares=[sessions])
    app.cleanup_ctx.append(pool)
    return _with_routes(app, whoami, login)


def encrypted(_arguments: argparse.Namespace) -> web.Application:
    """Serve with aiohttp-session and encrypted cookies: nothing can be revoked."""
    from aiohttp_session import setup
    from aiohttp_session.cookie_storage import EncryptedCookieStorage

    app = web.Application()
    setup(app, EncryptedCookieStorage(secrets.token_bytes(32), cookie_name="session"))
    return _with_aiohttp_session(app)


def redis(arguments: argparse.Namespace) -> web.Application:
    """Serve with aiohttp-session and Redis."""
    from aiohttp_session import setup
    from aiohttp_session.redis_storage import RedisStorage
    from redis.asyncio import Redis

    app = web.Application()
    client = Redis.from_url(arguments.redis)
    setup(app, RedisStorage(client, cookie_name="session"))

    async def close(_app: web.Application) -> None:
        await client.aclose()

    app.on_cleanup.append(close)
    return _with_aiohttp_session(app)


def _with_aiohttp_session(app: web.Application) -> web.Application:
    from aiohttp_session import get_session, new_session

    async def whoami(request: web.Request) -> web.Response:
        session = await get_session(request)
        return web.Response(text=f"hello {session.get('user')}")

    async def login(request: web.Request) -> web.Response:
        session = await new_session(request)
        session["user"] = request.match_info["user"]
        return web.Response(text="in")

    return _with_routes(app, whoami, login)


def _with_routes(app: web.Application, whoami: Handler, login: Handler) -> web.Application:
    app.router.add_get("/", whoami)
    app.router.add_post("/login/{user}", login)
    app.router.add_get("/cpu", _cpu)
    return app


async def _cpu(_request: web.Request) -> web.Response:
    """Tell how much processor time this process has used, in seconds."""
    return web.Response(text=json.dumps(time.process_time()))


SITES: Sites = {
    "none": none,
    "empty": empty,
    "anonymous": anonymous,
    "aiosess": checked,
    "aiosess-stale": stale,
    "aiosess-rotating": rotating,
    "handwritten": handwritten,
    "encrypted": encrypted,
    "redis": redis,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=SITES)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dsn", default="")
    parser.add_argument("--redis", default="")
    parsed = parser.parse_args()
    web.run_app(SITES[parsed.kind](parsed), host="127.0.0.1", port=parsed.port, access_log=None, print=None)
