"""Rotation over real processes and a real network: parallel requests, lost responses, responses in the wrong order."""

import asyncio

import asyncpg
import pytest

from tests.world.ageing import age, make_due
from tests.world.browser import firefox
from tests.world.http_relay import relayed_http
from tests.world.serve import served
from tests.world.waiting import eventually
from tests.world.wire import COOKIE, Reply, Wire, request_bytes, sign_in

PHONE, ELSEWHERE = firefox(140), firefox(141)


async def ask(port: int, token: str, agent: str = PHONE, target: str = "/me", method: str = "GET") -> Reply | None:
    """Ask with a token on a connection of its own; None: there was no answer."""
    wire = await Wire.open(port)
    headers = f"Cookie: {COOKIE}={token}".encode(), f"User-Agent: {agent}".encode()
    try:
        return await wire.ask(request_bytes(target, *headers, method=method))
    except (OSError, EOFError):
        return None
    finally:
        wire.abort()


async def get_in(port: int, token: str, agent: str = PHONE) -> str | None:
    """See that a token gets in; return the successor that comes, if one does."""
    reply = await ask(port, token, agent)
    assert reply is not None
    assert reply.user == "ada"
    return reply.token


@pytest.mark.threat("ROT-01")
async def test_parallel_requests_to_two_processes_get_one_successor(dsn: str, pg: asyncpg.Connection) -> None:
    """Of 50 requests at the due time, to two processes, all get in and one gets a successor; of 50 with that, none."""
    async with served(dsn) as (_, one), served(dsn) as (_, two):
        token = await sign_in(one, "ada", f"User-Agent: {PHONE}".encode())
        await make_due(pg)
        tokens = await asyncio.gather(*(get_in(port, token) for port in [one, two] * 25))
        (successor,) = filter(None, tokens)
        tokens = await asyncio.gather(*(get_in(port, successor) for port in [one, two] * 25))
        assert set(tokens) == {None}
    assert await pg.fetchval("select version from aiosess_sessions") == 2


@pytest.mark.threat("ROT-03")
@pytest.mark.parametrize("seconds", [1, 120, 3 * 86_400])
async def test_response_that_a_proxy_loses_logs_nobody_out(dsn: str, pg: asyncpg.Connection, seconds: int) -> None:
    """After a response with a successor was lost on its way, the browser goes on with what it has, and gets another."""
    async with served(dsn) as (_, port), relayed_http(port) as relay:
        token = await sign_in(relay.port, "ada", f"User-Agent: {PHONE}".encode())
        await make_due(pg)
        relay.losing = b"Set-Cookie"
        assert await ask(relay.port, token) is None
        assert relay.losing is None
        await age(pg, seconds)
        successor = await get_in(relay.port, token)
        if successor is None:  # the browser has just been given one, as the server sees it
            await age(pg, 600)
            successor = await get_in(relay.port, token)
        assert successor
        assert await get_in(relay.port, successor) is None
    assert await pg.fetchval("select version from aiosess_sessions") == 2


@pytest.mark.threat("ROT-03")
@pytest.mark.parametrize("seconds", [1, 120, 3 * 86_400])
async def test_answer_to_a_successor_that_a_proxy_loses_logs_nobody_out(
    dsn: str, pg: asyncpg.Connection, seconds: int
) -> None:
    """After the answer was lost to the request that made a successor current, the browser goes on with that."""
    async with served(dsn) as (_, port), relayed_http(port) as relay:
        token = await sign_in(relay.port, "ada", f"User-Agent: {PHONE}".encode())
        await make_due(pg)
        successor = await get_in(relay.port, token)
        assert successor
        relay.losing = b"HTTP/1.1"
        assert await ask(relay.port, successor) is None
        assert await pg.fetchval("select version from aiosess_sessions") == 2
        await age(pg, seconds)
        for _ in range(2):
            await get_in(relay.port, successor)


@pytest.mark.threat("ROT-02")
async def test_responses_in_the_wrong_order_converge(dsn: str, pg: asyncpg.Connection) -> None:
    """A successor that comes after a later one, which has been used already, is accepted and goes on alone."""
    async with served(dsn) as (_, port), relayed_http(port) as relay:
        token = await sign_in(relay.port, "ada", f"User-Agent: {PHONE}".encode())
        await make_due(pg)
        relay.holding = b"Set-Cookie"
        slow = asyncio.create_task(get_in(relay.port, token))
        await relay.gate.entered.wait()
        await age(pg, 61)
        second = await get_in(relay.port, token, ELSEWHERE)  # the phone has changed its network
        assert second
        await get_in(relay.port, second, ELSEWHERE)
        relay.gate.opened.set()
        first = await slow
        assert first
        for seconds in (0, 61):
            await age(pg, seconds)
            assert await get_in(relay.port, first, ELSEWHERE) is None
        await eventually(lambda: pg.fetchval("select settled_at is not null from aiosess_sessions"))
        await age(pg, 86_400)
        assert await get_in(relay.port, first, ELSEWHERE)
    assert await pg.fetchval("select version from aiosess_sessions") == 2


@pytest.mark.threat("ROT-11")
@pytest.mark.parametrize("target", ["/login/ada", "/do/rotate", "/do/reauthenticated", "/do/logout"])
async def test_responses_that_overtake_a_change_leave_its_cookie_alone(dsn: str, target: str) -> None:
    """While the answer to a login, rotation or logout is under way, others set and delete no cookie."""
    async with served(dsn) as (_, port), relayed_http(port) as relay:
        token = await sign_in(relay.port, "ada", f"User-Agent: {PHONE}".encode())
        relay.holding = b"Set-Cookie"
        change = asyncio.create_task(ask(relay.port, token, target=target, method="POST"))
        await relay.gate.entered.wait()
        for _ in range(2):
            overtaking = await ask(relay.port, token)
            assert overtaking is not None
            assert (overtaking.user, overtaking.token) == (None, None)
        relay.gate.opened.set()
        reply = await change
        assert reply is not None
        assert bool(reply.token) is (target != "/do/logout")
        if reply.token:
            assert await get_in(relay.port, reply.token) is None
