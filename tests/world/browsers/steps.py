"""What a user of the application with forms does in a browser, step by step."""

import asyncpg

from tests.world.ageing import make_due
from tests.world.browsers.real import RealBrowser
from tests.world.waiting import eventually


async def sign_in(browser: RealBrowser, origin: str, user: str = "ada") -> None:
    """Sign in by the form."""
    await browser.open(f"{origin}/forms")
    await browser.fill("input[name=user]", user)
    await browser.click("#sign-in")
    await browser.wait_for(f"document.querySelector('h1').innerText === '{user}'")


async def rotate_once(browser: RealBrowser, pg: asyncpg.Connection) -> None:
    """Let the page's own requests bring a successor and use it; the one session's version rises."""
    before, version = await browser.cookies(), await _version(pg)
    await make_due(pg)

    async def is_promoted() -> bool:
        await browser.evaluate("fetch('/me').then((response) => response.text())")
        return await _version(pg) > version

    await eventually(is_promoted)
    assert await browser.cookies() != before


async def _version(pg: asyncpg.Connection) -> int:
    version: int = await pg.fetchval("select version from aiosess_sessions")
    return version
