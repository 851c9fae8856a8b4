"""
``python -m bench.many``: what is done with very many sessions of one user, and how long the event loop stands still.

One application with a hook that does nothing; the loop is measured by a task that should wake every millisecond
(SES-19: no longer than 50 ms). ``--sessions`` says how many; the tables are filled anew for each row.
"""

import argparse
import asyncio
import gc
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import asyncpg
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import aiosess
from aiosess.embedded import EmbeddedPostgres
from bench.site import SECRET

Client = TestClient[web.Request, web.Application]

USER = "ada"

FILL = """
insert into aiosess_sessions
select (jsonb_populate_record(s, jsonb_build_object('id', gen_random_uuid()))).*
from aiosess_sessions s, generate_series(1, $1) where s.id = (select id from aiosess_sessions limit 1)
"""


@dataclass
class Stalls:
    """How long the loop stood still at most, in seconds."""

    longest: float = 0.0

    async def watch(self) -> None:
        """Wake every millisecond."""
        while True:
            before = perf_counter()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, perf_counter() - before - 0.001)


async def _sign_in(request: web.Request) -> web.Response:
    await request["sessions"].authenticate(USER)
    return web.Response()


async def _hook(_event: aiosess.Event) -> None:
    """Do nothing, as fast as a hook can."""


@asynccontextmanager
async def _site(
    dsn: str, cap: int
) -> AsyncIterator[tuple[TestClient[web.Request, web.Application], aiosess.SessionStore]]:
    app = web.Application()
    aiosess.setup(app, dsn=dsn, secret=SECRET, on_event=_hook, insecure_cookies=True, max_sessions_per_user=cap)
    app.router.add_post("/in", _sign_in)
    async with TestClient(TestServer(app)) as client:
        yield client, app[aiosess.STORE]


async def _measure(dsn: str, count: int, name: str) -> str:
    pg = await asyncpg.connect(dsn)
    async with _site(dsn, 10 if name == "login over the cap" else 2**31 - 1) as (client, store):
        await pg.execute("delete from aiosess_sessions; delete from aiosess_logins")
        await client.post("/in")
        await pg.execute(FILL, count - 1)
        await pg.execute("vacuum analyze aiosess_sessions")
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "list_for_user": lambda: store.list_for_user(USER),
            "page_for_user": lambda: store.page_for_user(USER, limit=50),
            "login": lambda: client.post("/in"),
            "login over the cap": lambda: client.post("/in"),
            "revoke_user": lambda: store.revoke_user(USER),
        }
        client.session.cookie_jar.clear()
        stalls = Stalls()
        gc.collect()
        gc.freeze()
        watching = asyncio.create_task(stalls.watch())
        await asyncio.sleep(0.01)
        stalls.longest, before = 0.0, perf_counter()
        await ways[name]()
        span = perf_counter() - before
        await asyncio.sleep(0.5)  # the hooks
        watching.cancel()
        left = await pg.fetchval("select count(*) from aiosess_sessions")
    await pg.close()
    return f"| {name} | {span * 1000:,.0f} | {stalls.longest * 1000:.1f} | {left:,} |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.many")
    parser.add_argument("--sessions", type=int, default=100_000)
    count = parser.parse_args().sessions
    print(f"{count:,} sessions of one user\n")
    print("| what | ms | longest stall of the loop, ms | sessions left |\n|---|---:|---:|---:|")
    with (
        tempfile.TemporaryDirectory(prefix="aiosess") as folder,
        EmbeddedPostgres(Path(folder) / "pg", settings={"fsync": "off"}) as server,
    ):
        for name in ("list_for_user", "page_for_user", "login", "login over the cap", "revoke_user"):
            print(asyncio.run(_measure(server.dsn, count, name)))


if __name__ == "__main__":
    main()
