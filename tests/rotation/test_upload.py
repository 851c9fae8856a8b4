"""
Uploads that take their time, while another process rotates the session: nobody is logged out, no old cookie comes back.

nginx stands before one of two processes and buffers a request until its body is complete, as many proxies do: the
application sees the headers minutes after the browser has sent them, with the token of then. One nginx serves all tests
here: a request's X-Port says which process it is for.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from aiosess._token.keys import Keyring
from aiosess._token.token import Token
from tests.world.ageing import age, make_due
from tests.world.app import SECRET
from tests.world.serve import served
from tests.world.waiting import eventually
from tests.world.wire import COOKIE, Wire, present, request_bytes, sign_in

BODY = b"x" * 64 * 1024  # more than nginx keeps in memory here
HALF = len(BODY) // 2

pytestmark = pytest.mark.threat("ROT-08")


def read(token: str) -> Token:
    """Return what a cookie's value spells."""
    return Keyring(SECRET).verify(token, "aiosess")


def configuration(folder: Path) -> str:
    """Return the configuration of an nginx that buffers requests to the port that they name."""
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers may not enter the folder
    temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""
        daemon off; pid {folder}/pid; worker_processes 1; {user}
        events {{ worker_connections 64; }}
        http {{
            access_log off; client_body_temp_path {folder}/body; client_body_buffer_size 8k; {temporary}
            server {{
                listen unix:{folder}/socket;
                location / {{
                    proxy_pass http://127.0.0.1:$http_x_port;
                    proxy_http_version 1.1;
                    proxy_request_buffering on;
                }}
            }}
        }}
    """


@pytest.fixture(scope="module")
async def proxy() -> AsyncIterator[Path]:
    """Return the socket that an nginx listens on."""
    with tempfile.TemporaryDirectory(prefix="aiosess") as name:
        folder = Path(name)
        (folder / "conf").write_text(configuration(folder))
        process = await asyncio.create_subprocess_exec("nginx", "-e", f"{folder}/log", "-c", f"{folder}/conf")
        try:
            await eventually(lambda: _listens(folder / "socket"))
            yield folder / "socket"
        finally:
            process.terminate()
            await process.wait()


async def _listens(path: Path) -> bool:
    try:
        wire = Wire(*await asyncio.open_unix_connection(path))
    except OSError:
        return False
    await wire.close()
    return True


async def begin_upload(wire: Wire, token: str, port: int) -> None:
    """Send the headers and half of the body, for the process at a port."""
    fields = {"Cookie": f"{COOKIE}={token}", "Content-Length": len(BODY), "X-Port": port}
    headers = [f"{name}: {value}".encode() for name, value in fields.items()]
    await wire.send(request_bytes("/upload", *headers, method="POST"), BODY[:HALF])


async def finish_upload(wire: Wire) -> tuple[dict[str, Any], str | None]:
    """Send the rest; return what the application says, and the cookie that comes with it."""
    await wire.send(BODY[HALF:])
    reply = await wire.read()
    assert reply.status == 200
    said = json.loads(reply.body)
    assert said.pop("size") == len(BODY)
    return said, reply.token


async def rotate(port: int, pg: asyncpg.Connection, token: str) -> str:
    """Let a process mint a successor and promote it; return it."""
    await make_due(pg)
    successor = (await present(port, token)).token
    assert successor
    assert (await present(port, successor)).user == "ada"
    return successor


async def settle(pg: asyncpg.Connection) -> None:
    """Let the current token count as kept by its browser."""
    await pg.execute("update aiosess_sessions set settled_at = now()")


async def has_begun(pg: asyncpg.Connection) -> bool:
    """Say whether the application has seen an upload."""
    begun: bool = await pg.fetchval("select data ? 'upload' from aiosess_sessions")
    return begun


async def tokens(pg: asyncpg.Connection) -> tuple[str, datetime | None]:
    """Return the current token's id, and until when no other successor is minted."""
    token_id, mint_until = await pg.fetchrow("select token_id, mint_until from aiosess_sessions")
    return token_id, mint_until


@asynccontextmanager
async def upload_overtaken(dsn: str, pg: asyncpg.Connection, proxy: Path) -> AsyncIterator[tuple[Wire, int, str]]:
    """Begin an upload through nginx, and rotate elsewhere; return its wire, the other process, and the successor."""
    async with served(dsn) as (_, one), served(dsn) as (_, two):
        token = await sign_in(two)
        wire = Wire(*await asyncio.open_unix_connection(proxy))
        await begin_upload(wire, token, one)
        successor = await rotate(two, pg, token)
        assert not await has_begun(pg), "nginx does not buffer"
        yield wire, two, successor
        await wire.close()


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("settled", [False, True])
async def test_buffered_upload_is_late(dsn: str, pg: asyncpg.Connection, proxy: Path, *, settled: bool) -> None:
    """An upload that a proxy held for five minutes of a rotation is accepted, is not fresh, and changes no cookie."""
    async with upload_overtaken(dsn, pg, proxy) as (wire, other, successor):
        if settled:
            await settle(pg)
        await age(pg, 300)
        await pg.execute("update aiosess_sessions set authenticated_at = now()")
        before = await tokens(pg)
        assert await finish_upload(wire) == ({"user": "ada", "fresh": False}, None)
        assert await tokens(pg) == before
        assert (await present(other, successor)).user == "ada"


@pytest.mark.needs("nginx")
async def test_very_late_upload_is_a_crashed_browser_while_nothing_is_settled(
    dsn: str, pg: asyncpg.Connection, proxy: Path
) -> None:
    """An upload beyond late_window is accepted until the successor is settled, and gets one more, not an old token."""
    async with upload_overtaken(dsn, pg, proxy) as (wire, other, successor):
        await age(pg, 601)
        said, sent = await finish_upload(wire)
        assert said["user"] == "ada"
        assert sent
        assert sent != successor
        assert (read(sent).version, read(sent).parent_id) == (read(successor).version, read(successor).parent_id)
        assert (await tokens(pg))[0] == read(successor).id
        assert [(await present(other, each)).user for each in (successor, sent)] == ["ada", "ada"]
        assert (await tokens(pg))[0] == read(sent).id


@pytest.mark.needs("nginx")
async def test_very_late_upload_is_a_copy_once_the_successor_is_settled(
    dsn: str, pg: asyncpg.Connection, proxy: Path
) -> None:
    """An upload beyond late_window with a settled successor cannot be told from theft: the session ends, quietly."""
    async with upload_overtaken(dsn, pg, proxy) as (wire, other, successor):
        await settle(pg)
        await age(pg, 601)
        assert await finish_upload(wire) == ({"user": None, "fresh": False}, None)
        assert await pg.fetchval("select count(*) from aiosess_sessions") == 0
        assert (await present(other, successor)).user is None


@pytest.mark.parametrize("seconds", [0, 300, 3600])
async def test_slow_handler_sets_no_older_cookie(dsn: str, pg: asyncpg.Connection, seconds: float) -> None:
    """A handler that began when its token was due and ends after another process rotated sets no cookie at all."""
    async with served(dsn) as (_, one), served(dsn) as (_, two):
        token = await sign_in(two)
        await make_due(pg)
        wire = await Wire.open(one)
        await begin_upload(wire, token, one)
        await eventually(lambda: has_begun(pg))
        successor = await rotate(two, pg, token)
        await settle(pg)
        await age(pg, seconds)
        before = await tokens(pg)
        said, sent = await finish_upload(wire)
        assert (said["user"], sent) == ("ada", None)
        assert await tokens(pg) == before
        assert (await present(two, successor)).user == "ada"
        await wire.close()
