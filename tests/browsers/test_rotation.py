"""Rotation in real browsers: a page that polls, and two tabs' worth of parallel requests."""

import asyncpg
import pytest

from tests.world.ageing import make_due
from tests.world.browsers.real import RealBrowser
from tests.world.waiting import eventually

ROTATIONS = 5
VERSION = "select version from aiosess_sessions"


async def answers(browser: RealBrowser) -> list[str]:
    """Return how the page's polling was answered."""
    found: list[str] = await browser.evaluate("window.answers")
    return found


@pytest.mark.threat("ROT-01")
async def test_tokens_rotate_while_a_page_polls(browser: RealBrowser, origin: str, pg: asyncpg.Connection) -> None:
    """While a page polls, the browser's cookie changes again and again, and every answer is for the user."""
    await browser.open(f"{origin}/polling")
    seen = {str(await browser.cookies())}
    for _ in range(ROTATIONS):
        version = await pg.fetchval(VERSION)
        await make_due(pg)
        await eventually(lambda version=version: _is_past(pg, version))
        seen.add(str(await browser.cookies()))
    assert len(seen) == 1 + ROTATIONS
    assert set(await answers(browser)) == {"ada"}
    await browser.open(f"{origin}/forms")
    assert await browser.text("h1") == "ada"


@pytest.mark.threat("ROT-01")
async def test_parallel_requests_of_one_page_stay_signed_in(
    browser: RealBrowser, origin: str, pg: asyncpg.Connection
) -> None:
    """Twenty requests at once, when the token is due, get one successor, and all of them are for the user."""
    await browser.open(f"{origin}/forms")
    ask = "fetch('/me').then(async (response) => String((await response.json()).user))"
    for rotation in range(ROTATIONS):
        await make_due(pg)
        for _ in range(2):  # the first brings the successor, the second uses it
            users = await browser.evaluate(f"Promise.all(Array.from({{ length: 20 }}, () => {ask}))")
            assert users == ["ada"] * 20
        assert await pg.fetchval(VERSION) == 2 + rotation


async def _is_past(pg: asyncpg.Connection, version: int) -> bool:
    return bool(await pg.fetchval(VERSION) > version)
