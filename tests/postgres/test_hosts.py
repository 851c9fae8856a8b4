"""DSNs with several hosts: one DSN for each, and the first primary that answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import asyncpg
import pytest

from aiosess._postgres.hosts import _give_up, one_by_one
from aiosess.errors import StoreUnavailable
from tests.world.app import make_app
from tests.world.parts import connected, unconnected
from tests.world.relay import Relay, relayed
from tests.world.site import visit


@pytest.mark.parametrize(
    ("dsn", "singly"),
    [
        ("postgresql://u:p@a/x", ["postgresql://u:p@a/x"]),
        ("postgresql:///x?host=/run/a&port=1", ["postgresql:///x?host=/run/a&port=1"]),
        (
            "postgresql://u:p%2Cq@a:1,b:2/x?sslmode=require",
            ["postgresql://u:p%2Cq@a:1/x?sslmode=require", "postgresql://u:p%2Cq@b:2/x?sslmode=require"],
        ),
        ("postgresql://a,b/x", ["postgresql://a/x", "postgresql://b/x"]),
        ("postgresql://[::1]:1,b/x", ["postgresql://[::1]:1/x", "postgresql://b/x"]),
        (
            "postgresql://u@/x?host=/a,/b&port=1,2",
            ["postgresql://u@/x?host=%2Fa&port=1", "postgresql://u@/x?host=%2Fb&port=2"],
        ),
        ("postgresql://u@/x?host=a,b&port=1", ["postgresql://u@/x?host=a&port=1", "postgresql://u@/x?host=b&port=1"]),
        ("postgresql://a,b/x?port=1,2", ["postgresql://a/x?port=1", "postgresql://b/x?port=2"]),
    ],
)
def test_each_host_has_a_dsn(dsn: str, singly: list[str]) -> None:
    """A DSN of several hosts is taken apart; what is not about hosts stands in each part as it was."""
    assert one_by_one(dsn) == singly


@pytest.mark.parametrize(
    "dsn", ["postgresql://a,b/x?port=1,2,3", "postgresql://a,b/x?=&&nonsense", "postgresql://[a,b/x"]
)
def test_senseless_dsn_is_left_to_asyncpg(dsn: str) -> None:
    """A DSN that cannot be taken apart stays whole: asyncpg says what is wrong with it."""
    assert one_by_one(dsn) == [dsn]


@asynccontextmanager
async def two_relays(dsn: str) -> AsyncIterator[tuple[Relay, Relay, str]]:
    """Give two relays to one server, and a DSN that names both."""
    async with relayed(dsn) as first, relayed(dsn) as second:
        own, other = urlsplit(first.dsn), urlsplit(second.dsn)
        netloc = f"{own.netloc},{other.netloc.rpartition('@')[2]}"
        yield first, second, own._replace(netloc=netloc).geturl()


def is_silent(relay: Relay) -> None:
    """Let a host take connections and never answer."""
    relay.swallows = True


def is_refusing(relay: Relay) -> None:
    """Let a host reset every connection."""
    relay.refuses = True


@pytest.mark.threat("DB-09")
@pytest.mark.parametrize("fault", [is_silent, is_refusing])
async def test_next_host_is_tried(dsn: str, fault: Callable[[Relay], None]) -> None:
    """When the first host is silent or refuses, at the start or later, the next one serves requests."""
    async with two_relays(dsn) as (first, second, several):
        fault(first)
        async with visit(make_app(several)) as site:
            token = await site.login()
            assert (await site.present(token)).user == "ada"
            first.swallows = first.refuses = False
            fault(second)
            second.cut()
            assert (await site.present(token)).user == "ada"


@pytest.mark.threat("DB-09")
async def test_host_that_answered_last_is_asked_first(dsn: str) -> None:
    """A silent host costs its head start once, not with every connection."""
    async with two_relays(dsn) as (first, second, several), connected(several) as parts:
        is_silent(first)
        await parts.store.count()
        tried = first.connections
        second.cut()
        await parts.store.count()
        assert (first.connections, second.connections) == (tried, 2)


@pytest.mark.threat("DB-21")
async def test_slow_host_stays_in_the_race(dsn: str) -> None:
    """A host that connects slowly is waited for while the next one is tried, which never answers."""
    async with two_relays(dsn) as (first, second, several):
        first.connecting_takes = 1.0
        is_silent(second)
        async with visit(make_app(several, store_timeout=timedelta(seconds=20))) as site:
            assert await site.login()
            assert second.connections


@pytest.mark.threat("DB-04")
async def test_no_host_answers(dsn: str) -> None:
    """When every host is silent or refuses, the deadline holds, and no connecting goes on."""
    before = asyncio.all_tasks()
    async with two_relays(dsn) as (first, second, several):
        is_silent(first)
        is_refusing(second)
        database = unconnected(store_timeout=timedelta(seconds=1))
        await database.connect(several)
        with pytest.raises(StoreUnavailable):
            await database.fetch("select 1")
        is_refusing(first)
        first.cut()
        database.outage.is_on = False
        with pytest.raises(StoreUnavailable):
            await database.fetch("select 1")
        await database.close()
    assert asyncio.all_tasks() <= before


async def test_error_of_a_host_that_answers_is_told(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """A database that does not exist is told, rather than that the other host refuses."""
    async with two_relays(dsn) as (first, second, several):
        is_refusing(second)
        database = unconnected()
        await database.connect(urlsplit(several)._replace(path="/nowhere").geturl())
        with pytest.raises(StoreUnavailable):
            await database.fetch("select 1")
        assert first.connections
        assert "InvalidCatalogNameError" in caplog.text
        await database.close()


@pytest.mark.threat("DB-15")
async def test_connection_that_comes_second_is_ended(dsn: str) -> None:
    """When two hosts answer in the same moment, the connection that is not used is ended."""
    connecting = asyncio.create_task(asyncpg.connect(dsn))
    made = await connecting
    await _give_up({connecting: dsn})
    assert made.is_closed()
