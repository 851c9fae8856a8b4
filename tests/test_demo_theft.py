"""What the demo tells somebody whose cookie was copied."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
from aiohttp import ClientSession, CookieJar
from aiohttp.test_utils import TestServer

from demo.accounts import SAMPLES
from demo.app import make_app
from tests.site import SECRET, age, make_due

NAME, PASSWORD = next(iter(SAMPLES.items()))
OURS = {"Sec-Fetch-Site": "same-origin"}
TOLD = "We ended a session that was used from two places"


@pytest.fixture
async def address(empty_dsn: str) -> AsyncIterator[str]:
    """Return the address of a demo on a database of its own."""
    server = TestServer(make_app(empty_dsn, secret=SECRET, insecure_cookies=True))
    await server.start_server()
    yield str(server.make_url("/"))
    await server.close()


def browser(address: str, user_agent: str) -> ClientSession:
    """Return a browser with an empty jar."""
    return ClientSession(address, cookie_jar=CookieJar(unsafe=True), headers={"User-Agent": user_agent})


async def sign_in(visitor: ClientSession) -> str:
    """Sign in by the form, and return the home page."""
    async with visitor.post("/sign-in", data={"name": NAME, "password": PASSWORD}, headers=OURS) as response:
        assert response.url.path == "/"
        return await response.text()


def copy(victim: ClientSession, thief: ClientSession) -> None:
    """Copy the session cookie of one jar into another."""
    thief.cookie_jar.update_cookies({cookie.key: cookie.value for cookie in victim.cookie_jar})


@pytest.mark.threat("ROT-04")
async def test_theft_is_told_at_the_next_sign_in(address: str, empty_dsn: str) -> None:
    """After a copied cookie ended a session, the next sign-in says so once: the devices, the addresses and when."""
    pg = await asyncpg.connect(empty_dsn)
    async with browser(address, "curl/8.1") as owner, browser(address, "Wget/1.21") as thief:
        assert TOLD not in await sign_in(owner)
        copy(owner, thief)
        for _ in range(2):  # the owner's token is replaced, and the new one settles
            await make_due(pg)
            async with owner.get("/") as response:
                assert response.status == 200
        await make_due(pg)
        await age(pg, 3600)
        async with thief.get("/") as response:
            assert response.url.path == "/sign-in"
        async with owner.get("/") as response:
            assert response.url.path == "/sign-in"
        page = await sign_in(owner)
        assert TOLD in page
        assert re.search(r"curl.*127\.0\.0\.1.*Wget.*127\.0\.0\.1.* UTC", page, re.DOTALL | re.IGNORECASE)
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token
        async with owner.post("/theft-seen", data={"csrf_token": token[1]}, headers=OURS) as response:
            assert TOLD not in await response.text()
        async with browser(address, "curl/8.1") as other:
            assert TOLD not in await sign_in(other)
    await pg.close()
