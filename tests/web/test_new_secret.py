"""A new secret takes over in three steps, as docs/secrets.md says, over two real processes."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession, DummyCookieJar

from tests.world.ageing import make_due
from tests.world.app import NEW_SECRET as NEW
from tests.world.app import SECRET as OLD
from tests.world.serve import served
from tests.world.waiting import eventually
from tests.world.wire import COOKIE

STEPS = ([OLD], [OLD, NEW], [NEW, OLD], [NEW])
OURS = {"Sec-Fetch-Site": "same-origin"}
FIELD = re.compile(r'name="csrf_token" value="([^"]+)"')


@dataclass
class Place:
    """Room for one process behind a balancer, and how many requests it has not answered."""

    process: AsyncExitStack = field(default_factory=AsyncExitStack)
    port: int | None = None
    waiting: int = 0


class Fleet:
    """A balancer with two places."""

    def __init__(self, dsn: str) -> None:
        """Start nothing yet."""
        self._dsn = dsn
        self._places = (Place(), Place())
        self._asked = 0

    @contextmanager
    def chosen(self) -> Iterator[int]:
        """Give the port for one request: those of the processes that run, in turn."""
        running = [place for place in self._places if place.port is not None]
        self._asked += 1
        place = running[self._asked % len(running)]
        assert place.port is not None
        place.waiting += 1
        try:
            yield place.port
        finally:
            place.waiting -= 1

    async def restart(self, number: int, secrets: list[str]) -> None:
        """Replace a process by one with these secrets; it gets no more requests, and answers those it has."""
        place = self._places[number]
        place.port = None
        await eventually(lambda: place.waiting == 0)
        await place.process.aclose()
        process = served(self._dsn, module="tests.world.forms_app", secret=secrets)
        _, place.port = await place.process.enter_async_context(process)

    async def close(self) -> None:
        """Stop both."""
        for place in self._places:
            await place.process.aclose()


@pytest.fixture
async def fleet(dsn: str) -> AsyncIterator[Fleet]:
    """Return two empty places, and stop what is in them at the end."""
    fleet = Fleet(dsn)
    yield fleet
    await fleet.close()


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    """Return a client without a jar."""
    async with ClientSession(cookie_jar=DummyCookieJar()) as client:
        yield client


@dataclass
class User:
    """Somebody with a browser: it keeps the newest token that it got."""

    name: str
    fleet: Fleet
    client: ClientSession
    token: str = ""
    visits: int = 0

    async def ask(self, method: str, path: str, **fields: str) -> tuple[int, str]:
        """Return status and body."""
        headers = OURS | ({"Cookie": f"{COOKIE}={self.token}"} if self.token else {})
        options: dict[str, Any] = {"headers": headers, "data": fields, "allow_redirects": False}
        with self.fleet.chosen() as port:
            async with self.client.request(method, f"http://127.0.0.1:{port}{path}", **options) as response:
                if COOKIE in response.cookies:
                    self.token = response.cookies[COOKIE].value
                return response.status, await response.text()

    async def sign_in(self) -> None:
        """Sign in by the form."""
        status, _ = await self.ask("POST", "/forms/sign-in", user=self.name, csrf_token="")
        assert (status, bool(self.token)) == (303, True)

    async def visit(self) -> None:
        """Open a page with a form on one process, and send the form to the other."""
        status, page = await self.ask("GET", "/forms")
        assert (status, f"<h1>{self.name}</h1>" in page) == (200, True), page
        found = FIELD.search(page)
        assert found is not None
        status, page = await self.ask("POST", "/forms/act", csrf_token=found[1])
        assert (status, f"done by {self.name}" in page) == (200, True), page
        self.visits += 1


@asynccontextmanager
async def traffic(users: list[User]) -> AsyncIterator[None]:
    """Let users come again and again for a while; the first who is not known, or whose form is refused, ends it."""
    over = asyncio.Event()

    async def come(user: User) -> None:
        while not over.is_set():
            await user.visit()

    async with asyncio.TaskGroup() as group:
        for user in users:
            group.create_task(come(user))
        try:
            yield
        finally:
            over.set()


async def renew(pg: asyncpg.Connection, users: list[User]) -> None:
    """Wait until each of the users has come with a new token."""
    before = {user.name: (user.token, user.visits) for user in users}
    await make_due(pg)

    def have_changed() -> bool:
        return all(user.token != before[user.name][0] and user.visits > before[user.name][1] + 2 for user in users)

    await eventually(have_changed)


@pytest.mark.threat("KEY-01")
async def test_three_steps_sign_nobody_out(fleet: Fleet, client: ClientSession, pg: asyncpg.Connection) -> None:
    """While two processes get a new secret step by step, everybody stays signed in and no form is refused."""
    for place in (0, 1):
        await fleet.restart(place, STEPS[0])
    users = [User(f"user{number}", fleet, client) for number in range(3)]
    for user in users:
        await user.sign_in()
    for secrets in STEPS[1:]:
        async with traffic(users):
            for place in (0, 1):
                await fleet.restart(place, secrets)
                newcomer = User(f"newcomer{len(users)}", fleet, client)
                await newcomer.sign_in()
                await newcomer.visit()
                await renew(pg, users)
        users.append(newcomer)


@pytest.mark.threat("KEY-01")
async def test_new_secret_in_front_at_once_signs_out(fleet: Fleet, client: ClientSession) -> None:
    """Without the first step, a token that a new process signed is unknown to the processes that still run."""
    await fleet.restart(0, [NEW, OLD])
    user = User("ada", fleet, client)
    await user.sign_in()
    await user.visit()
    await fleet.restart(1, [OLD])
    pages = [await user.ask("GET", "/forms") for _ in range(2)]
    assert sorted("<h1>ada</h1>" in page for _, page in pages) == [False, True]


@pytest.mark.threat("KEY-01")
async def test_user_who_stayed_away_signs_in_again(fleet: Fleet, client: ClientSession) -> None:
    """When the old secret is dropped, somebody who was never there while the new one signed is a guest; no more."""
    await fleet.restart(0, [OLD, NEW])
    user = User("ada", fleet, client)
    await user.sign_in()
    old = user.token
    await fleet.restart(0, [NEW])
    status, page = await user.ask("GET", "/forms")
    assert (status, "<h1>nobody</h1>" in page, user.token) == (200, True, old)
    await user.sign_in()
    await user.visit()
