"""Several real server processes on one database: what one of them does, the others see with their next request."""

import asyncio
import json
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import cycle

import asyncpg
import pytest
from aiohttp import ClientSession, DummyCookieJar

from aiosess._postgres.statements import statement
from tests.world.ageing import age, make_due
from tests.world.app import make_app
from tests.world.cookies import session_id
from tests.world.serve import served
from tests.world.site import visit
from tests.world.waiting import eventually, somebody_waits
from tests.world.wire import COOKIE, Reply, Wire, request_bytes

ROUNDS = 1000
WORKERS = 10
WAYS = ("logout", "logout_all", "revoke", "store")


class Visitor:
    """Asks processes with tokens, and keeps no cookie."""

    def __init__(self, session: ClientSession) -> None:
        """Use a session whose jar keeps nothing."""
        self._session = session

    async def ask(self, method: str, port: int, target: str, token: str = "") -> tuple[int, str, str]:
        """Return status, body and new token."""
        headers = {"Cookie": f"{COOKIE}={token}"} if token else {}
        async with self._session.request(method, f"http://127.0.0.1:{port}{target}", headers=headers) as response:
            cookie = response.cookies.get(COOKIE)
            return response.status, await response.text(), cookie.value if cookie else ""

    async def login(self, port: int, user: str) -> str:
        """Sign in and return the token."""
        status, _, token = await self.ask("POST", port, f"/login/{user}")
        assert status == 200
        assert token
        return token

    async def user(self, port: int, token: str) -> str | None:
        """Return who a process says is asking."""
        status, body, _ = await self.ask("GET", port, "/me", token)
        assert status == 200
        user: str | None = json.loads(body)["user"]
        return user


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    """Return a visitor."""
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield Visitor(session)


@pytest.mark.threat("SES-03")
async def test_revocation_is_seen_by_the_next_request_on_every_process(dsn: str, visitor: Visitor) -> None:
    """A session that is ended on one process is anonymous on the other at once, a thousand times of a thousand."""
    misses: list[str] = []

    async def work(worker: int, ports: tuple[int, int]) -> None:
        user, ways = f"user{worker}", cycle(WAYS)
        for _ in range(ROUNDS // WORKERS):
            ports = ports[::-1]
            here, there = ports
            token = await visitor.login(here, user)
            assert await visitor.user(here, token) == user
            assert await visitor.user(there, token) == user
            way = next(ways)
            if way == "store":
                await store.revoke(session_id(token))
            else:
                target = f"/revoke/{session_id(token)}" if way == "revoke" else f"/do/{way}"
                assert (await visitor.ask("POST", there, target, token))[0] == 200
            if await visitor.user(here, token) is not None:
                misses.append(way)

    async with AsyncExitStack() as stack:
        _, one = await stack.enter_async_context(served(dsn))
        _, two = await stack.enter_async_context(served(dsn))
        store = (await stack.enter_async_context(visit(make_app(dsn)))).store
        await asyncio.gather(*(work(worker, (one, two)) for worker in range(WORKERS)))
    assert misses == []


@pytest.mark.threat("SES-03")
async def test_rotation_and_data_are_seen_by_every_process(dsn: str, pg: asyncpg.Connection, visitor: Visitor) -> None:
    """A successor that one process minted and another promoted is known to both; the old secret is dead on both."""
    async with served(dsn) as (_, one), served(dsn) as (_, two):
        token = await visitor.login(one, "ada")
        for _ in range(5):
            await make_due(pg)
            _, _, successor = await visitor.ask("GET", one, "/me", token)
            assert successor
            assert await visitor.user(two, successor) == "ada"
            assert await visitor.user(one, successor) == "ada"
            token = successor
        _, _, new = await visitor.ask("POST", two, "/do/rotate", token)
        assert [await visitor.user(port, token) for port in (one, two)] == [None, None]
        assert [await visitor.user(port, new) for port in (one, two)] == ["ada", "ada"]


async def _begin(port: int, method: str, target: str, token: str) -> tuple[Wire, asyncio.Task[Reply]]:
    """Send a request and wait for its answer in the background."""
    wire = await Wire.open(port)
    await wire.send(request_bytes(target, f"Cookie: {COOKIE}={token}".encode(), method=method))
    return wire, asyncio.create_task(wire.read())


async def _connections(pg: asyncpg.Connection) -> int:
    others: int = await pg.fetchval(
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    return others


def first_line(name: str) -> str:
    """Return how a statement begins: PostgreSQL shows the first 1,024 bytes of one that waits."""
    return statement(name, "public").partition("\n")[0]


# What kill -9 leaves. Each write: its request, and words of its statement, by which it is seen to be what waits.
KEEPING = {
    "promotion": ("GET", "/me", "set\n    version = $2"),
    "mint": ("GET", "/me", "holder_until = greatest"),
    "set": ("POST", "/upload", "set data = s.data ||"),
    "logout_other": ("POST", "/do/logout_other", first_line("revoke_user")),
}
ENDING = {
    "logout": ("POST", "/do/logout", "delete from"),
    "logout_all": ("POST", "/do/logout_all", first_line("revoke_user")),
    "login": ("POST", "/login/ada", first_line("authenticate")),
    "rotate": ("POST", "/do/rotate", "secret_hash = $3"),
    "reauthenticated": ("POST", "/do/reauthenticated", "secret_hash = $3"),
}
WAITING = "from pg_stat_activity where pg_backend_pid() = any(pg_blocking_pids(pid))"


async def _rows(pg: asyncpg.Connection) -> str:
    """Return all sessions, but for what is written behind the requests' backs."""
    text: str = await pg.fetchval(
        "select jsonb_agg(to_jsonb(s) - '{last_active_at,expires_at,revision}'::text[] order by id)::text"
        " from aiosess_sessions s"
    )
    return text


async def _kill_during(
    pg: asyncpg.Connection, victim: tuple[Process, int], token: str, write: tuple[str, str, str], *, commits: bool
) -> None:
    """Kill a process while PostgreSQL holds its write up; then let that be committed, or end it before."""
    (process, port), (method, target, words) = victim, write
    before = await _rows(pg)
    async with pg.transaction():
        await pg.execute("select from aiosess_sessions for update")
        wire, answer = await _begin(port, method, target, token)
        await somebody_waits(pg)
        assert words in await pg.fetchval(f"select query {WAITING}")
        process.kill()
        await process.wait()
        with pytest.raises((OSError, EOFError)):
            await answer
        await wire.close()
        if not commits:
            await pg.execute(f"select pg_terminate_backend(pid, 5000) {WAITING}")
    if commits:
        # A backend that is at work does not notice that its client has gone.
        await eventually(lambda: _differs(pg, before))
    else:
        assert await _rows(pg) == before


async def _differs(pg: asyncpg.Connection, before: str) -> bool:
    return await _rows(pg) != before


async def _goes_on(pg: asyncpg.Connection, visitor: Visitor, port: int, token: str) -> None:
    """See that a token gets in, and is replaced when that is due."""
    assert await visitor.user(port, token) == "ada"
    await make_due(pg)
    _, _, successor = await visitor.ask("GET", port, "/me", token)
    assert successor
    assert await visitor.user(port, successor) == "ada"


@pytest.mark.threat("ROT-07")
@pytest.mark.parametrize("commits", [False, True], ids=["before commit", "between commit and response"])
@pytest.mark.parametrize("write", KEEPING)
async def test_kill_between_write_and_response_logs_nobody_out(
    dsn: str, pg: asyncpg.Connection, visitor: Visitor, write: str, *, commits: bool
) -> None:
    """A process that is killed in the middle of a write leaves its client signed in, written or not."""
    async with served(dsn, fingerprint="off") as victim, visit(make_app(dsn, fingerprint="off")) as other:
        token = await _ready_for(write, pg, visitor, other.port)
        await _kill_during(pg, victim, token, KEEPING[write], commits=commits)
        await _goes_on(pg, visitor, other.port, token)


@pytest.mark.threat("ROT-07")
@pytest.mark.parametrize("write", [*KEEPING, "rotate", "reauthenticated", "login"])
async def test_kill_after_the_response_logs_nobody_out(
    dsn: str, pg: asyncpg.Connection, visitor: Visitor, write: str
) -> None:
    """What a response has told holds, also when its process is killed right after it."""
    method, target, _ = (KEEPING | ENDING)[write]
    async with served(dsn, fingerprint="off") as (process, port), visit(make_app(dsn, fingerprint="off")) as other:
        token = await _ready_for(write, pg, visitor, other.port)
        before = await _rows(pg)
        status, _, new = await visitor.ask(method, port, target, token)
        process.kill()
        assert status == 200
        assert await _rows(pg) != before
        await _goes_on(pg, visitor, other.port, new or token)


@pytest.mark.threat("ROT-07")
@pytest.mark.threat("SES-02")
@pytest.mark.parametrize("commits", [False, True], ids=["before commit", "between commit and response"])
@pytest.mark.parametrize("write", ENDING)
async def test_kill_during_what_ends_the_old_token(
    dsn: str, pg: asyncpg.Connection, visitor: Visitor, write: str, *, commits: bool
) -> None:
    """What ends a token on purpose has no second chance: done, the token is dead, without alarm; not done, it lives."""
    async with served(dsn, fingerprint="off") as victim, visit(make_app(dsn, fingerprint="off")) as other:
        token = await visitor.login(other.port, "ada")
        await _kill_during(pg, victim, token, ENDING[write], commits=commits)
        assert await visitor.user(other.port, token) == (None if commits else "ada")
        is_gone = commits and write in {"logout", "logout_all"}
        assert await pg.fetchval("select count(*) from aiosess_sessions") == (0 if is_gone else 1)


@pytest.mark.threat("ROT-07")
@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("mark", ["last_active_at", "settled_at"])
async def test_kill_around_a_mark_logs_nobody_out(
    dsn: str, pg: asyncpg.Connection, visitor: Visitor, mark: str, *, written: bool
) -> None:
    """A process killed before or after it has written what its answers left behind leaves its client signed in."""
    async with served(dsn, fingerprint="off") as (process, port), visit(make_app(dsn, fingerprint="off")) as other:
        token = await _ready_for("promotion" if mark == "settled_at" else "touch", pg, visitor, other.port)
        assert await visitor.user(other.port, token) == "ada"
        await other.installation.upkeep.flush()
        await age(pg, 600)
        noted = "select to_jsonb(s) ->> $1 from aiosess_sessions s"
        before = await pg.fetchval(noted, mark)

        async def is_written() -> bool:
            return bool(await pg.fetchval(noted, mark) != before)

        async with AsyncExitStack() as stack:
            if not written:
                await stack.enter_async_context(pg.transaction())
                await pg.execute("lock table aiosess_sessions in share mode")  # the statement passes over locked rows
            assert await visitor.user(port, token) == "ada"
            await (eventually(is_written) if written else somebody_waits(pg))
            process.kill()
            await process.wait()
            if not written:
                await pg.execute(f"select pg_terminate_backend(pid, 5000) {WAITING}")
        assert await is_written() is written
        await _goes_on(pg, visitor, other.port, token)


async def _ready_for(write: str, pg: asyncpg.Connection, visitor: Visitor, port: int) -> str:
    """Sign in, and bring the session to where a request makes this write; return the token to make it with."""
    token = await visitor.login(port, "ada")
    if write == "logout_other":
        await visitor.login(port, "ada")
    if write in {"promotion", "mint"}:
        await make_due(pg)
    if write == "promotion":
        _, _, token = await visitor.ask("GET", port, "/me", token)
    return token


@pytest.mark.threat("DB-15")
async def test_sigterm_lets_writes_finish(dsn: str, pg: asyncpg.Connection, visitor: Visitor) -> None:
    """A process that is told to end answers what it has begun, gives its connections back and exits with 0."""
    async with served(dsn) as (process, port):
        token = await visitor.login(port, "ada")
        async with pg.transaction():
            await pg.execute("select from aiosess_sessions for update")
            wire, answer = await _begin(port, "POST", "/do/rotate", token)
            await somebody_waits(pg)
            process.send_signal(signal.SIGTERM)
            await eventually(lambda: _is_closed(port))
        reply = await answer
        assert (reply.status, bool(reply.token)) == (200, True)
        await wire.close()
        assert await process.wait() == 0
        assert await _connections(pg) == 0
    assert await pg.fetchval("select version from aiosess_sessions") == 2


async def _is_closed(port: int) -> bool:
    """Say whether nobody listens on a port any more."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    await writer.wait_closed()
    return False
