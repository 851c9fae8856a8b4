"""What the demo tells somebody whose cookie was copied."""

import html
import json
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
from aiohttp import ClientSession, CookieJar, TCPConnector
from aiohttp.test_utils import TestServer

from demo.accounts import MAX_THEFTS, SAMPLES
from demo.app import make_app
from tests.world.ageing import age, make_due
from tests.world.app import SECRET

NAME, PASSWORD = next(iter(SAMPLES.items()))
OURS = {"Sec-Fetch-Site": "same-origin"}
TOLD = "used from two places"
OWNER, THIEF = ("curl/8.1", "127.0.0.1"), ("Wget/1.21", "127.0.0.2")
PLACES = ["curl at 127.0.0.1", "Wget at 127.0.0.2"]


@pytest.fixture
async def address(empty_dsn: str) -> AsyncIterator[str]:
    """Return the address of a demo on a database of its own."""
    server = TestServer(make_app(empty_dsn, secret=SECRET, insecure_cookies=True))
    await server.start_server()
    yield str(server.make_url("/"))
    await server.close()


@pytest.fixture
async def pg(empty_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection to the demo's database."""
    connection = await asyncpg.connect(empty_dsn)
    yield connection
    await connection.close()


def browser(address: str, user_agent: str = OWNER[0], ip: str = OWNER[1]) -> ClientSession:
    """Return a browser with an empty jar, on a machine with this address."""
    connector = TCPConnector(local_addr=(ip, 0))
    return ClientSession(
        address, connector=connector, cookie_jar=CookieJar(unsafe=True), headers={"User-Agent": user_agent}
    )


async def text(visitor: ClientSession, path: str = "/") -> str:
    """Return a page as somebody reads it who is signed in: its text without marks, on one line."""
    async with visitor.get(path) as response:
        assert (response.status, response.url.path) == (200, path)
        return plain(await response.text())


def plain(page: str) -> str:
    """Return the text of a page on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())


async def sign_in(visitor: ClientSession, to: str = "/") -> str:
    """Sign in by the form, and return the page that it leads to."""
    fields = {"name": NAME, "password": PASSWORD, "next": to}
    async with visitor.post("/sign-in", data=fields, headers=OURS) as response:
        assert response.url.path == to
        return plain(await response.text())


async def is_out(visitor: ClientSession) -> bool:
    """Ask for the home page, and see whether it asks to sign in."""
    async with visitor.get("/") as response:
        return response.url.path == "/sign-in"


def copy(victim: ClientSession, thief: ClientSession) -> None:
    """Copy the session cookie of one jar into another, which had nothing better."""
    thief.cookie_jar.clear()
    thief.cookie_jar.update_cookies({cookie.key: cookie.value for cookie in victim.cookie_jar})


async def go_on(visitor: ClientSession, pg: asyncpg.Connection) -> None:
    """Use a session until its token was replaced, and the new one has settled."""
    for _ in range(2):
        await make_due(pg)
        await text(visitor)
    await make_due(pg)
    await age(pg, 3600)


async def steal(owner: ClientSession, thief: ClientSession, pg: asyncpg.Connection, *, first: ClientSession) -> None:
    """Copy a cookie; one of the two goes on with the session, then the other comes with what is old by now."""
    copy(owner, thief)
    await go_on(first, pg)
    second = thief if first is owner else owner
    assert await is_out(second)
    assert await is_out(first)


async def form_fields(visitor: ClientSession, page: str) -> dict[str, str]:
    """Return what the button "I have read this" of a page sends."""
    async with visitor.get(page) as response:
        form = re.search(r'action="/theft-seen">(.*?)</form>', await response.text(), re.DOTALL)
    assert form
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[1]))


async def read(visitor: ClientSession, page: str) -> str:
    """Press that button, and return the page that it leads to."""
    fields = await form_fields(visitor, page)
    async with visitor.post("/theft-seen", data=fields, headers=OURS) as response:
        assert response.url.path == page
        return plain(await response.text())


@pytest.mark.threat("ROT-04")
async def test_owner_goes_on_and_the_thief_comes_back(address: str, pg: asyncpg.Connection) -> None:
    """After a thief's copy ended a session, the next sign-in says when, and from which two places it was used."""
    async with browser(address) as owner, browser(address, *THIEF) as thief:
        assert TOLD not in await sign_in(owner)
        await steal(owner, thief, pg, first=owner)
        page = await sign_in(owner)
        assert TOLD in page
        assert f"{PLACES[0]} and {PLACES[1]}, just now." in page


@pytest.mark.threat("ROT-04")
async def test_thief_goes_on_and_the_owner_comes_back(address: str, pg: asyncpg.Connection) -> None:
    """When the thief was faster, the same two places are named, and not the owner's twice."""
    async with browser(address) as owner, browser(address, *THIEF) as thief:
        await sign_in(owner)
        await steal(owner, thief, pg, first=thief)
        page = await sign_in(owner)
        assert f"{PLACES[1]} and {PLACES[0]}, just now." in page


async def test_places_that_look_the_same(address: str, pg: asyncpg.Connection) -> None:
    """When the copy was used on the same machine, with the same browser, the page says that it cannot tell more."""
    async with browser(address) as owner, browser(address) as thief:
        await sign_in(owner)
        await steal(owner, thief, pg, first=owner)
        assert f"{PLACES[0]}, just now. Both look the same from here." in await sign_in(owner)


async def test_every_page_of_every_session_tells_until_it_was_read(address: str, pg: asyncpg.Connection) -> None:
    """Whichever page and session comes first, it tells; once somebody has read it, none does."""
    pages = ["/", "/notes", "/devices", "/confirm"]
    async with browser(address) as owner, browser(address, *THIEF) as thief, browser(address) as another:
        await sign_in(another)
        await sign_in(owner)
        await steal(owner, thief, pg, first=owner)
        assert TOLD in await sign_in(owner, to="/devices")
        for visitor in (owner, another):
            assert all([TOLD in await text(visitor, page) for page in pages])
        assert TOLD not in await read(another, "/devices")
        for visitor in (owner, another):
            assert not any([TOLD in await text(visitor, page) for page in pages])


async def test_nobody_else_is_told(address: str, pg: asyncpg.Connection) -> None:
    """Neither somebody who is not signed in nor another account hears of it."""
    async with browser(address) as owner, browser(address, *THIEF) as thief, browser(address) as grace:
        await sign_in(owner)
        await steal(owner, thief, pg, first=owner)
        assert TOLD not in await text(grace, "/sign-in")
        async with grace.post("/sign-in", data={"name": "grace", "password": SAMPLES["grace"]}, headers=OURS) as answer:
            assert TOLD not in await answer.text()


async def test_all_thefts_are_told(address: str, pg: asyncpg.Connection) -> None:
    """A second theft does not hide the first; the list has an end."""
    async with browser(address) as owner, browser(address, *THIEF) as thief:
        await sign_in(owner)
        for count in range(1, MAX_THEFTS + 2):
            await steal(owner, thief, pg, first=owner if count % 2 else thief)
            page = await sign_in(owner)
            assert page.count(", just now.") == min(count, MAX_THEFTS)
        assert page.index(f"{PLACES[1]} and {PLACES[0]}") < page.index(f"{PLACES[0]} and {PLACES[1]}")


async def test_what_came_while_the_page_was_open_stays(address: str, pg: asyncpg.Connection) -> None:
    """Pressing the button forgets what the page told, and not a theft that the page did not know."""
    async with browser(address) as owner, browser(address, *THIEF) as thief:
        await sign_in(owner)
        await steal(owner, thief, pg, first=owner)
        await sign_in(owner)
        theft = await pg.fetchval("select thefts ->> 0 from demo_accounts where name = $1", NAME)
        later = json.dumps([json.loads(theft) | {"at": "2999-01-01T00:00:00+00:00"}])
        await pg.execute("update demo_accounts set thefts = $1::text::jsonb || thefts where name = $2", later, NAME)
        fields = await form_fields(owner, "/") | {"seen": json.loads(theft)["at"]}
        async with owner.post("/theft-seen", data=fields, headers=OURS) as response:
            assert (await response.text()).count(PLACES[0].partition(" ")[0] + "</strong>") == 1


@pytest.mark.parametrize("seen", ["", "yesterday", "9999-12-31T23:59:59-14:00", "\0"])
async def test_what_is_no_instant_forgets_nothing(seen: str, address: str) -> None:
    """A form that does not say what was read is refused."""
    async with browser(address) as owner:
        await sign_in(owner)
        async with owner.get("/") as response:
            token = re.search(r'name="csrf_token" value="([^"]+)"', await response.text())
        assert token
        fields = {"csrf_token": token[1], "seen": seen}
        async with owner.post("/theft-seen", data=fields, headers=OURS) as response:
            assert response.status == 400
