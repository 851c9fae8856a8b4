"""A short visit in each of the three browsers, in every run; the other files leave Firefox and WebKit to the night."""

import asyncpg
import pytest

from tests.world.browsers.engines import EACH
from tests.world.browsers.real import Start
from tests.world.browsers.steps import rotate_once, sign_in
from tests.world.devices import PAGE


@pytest.mark.parametrize("engine", EACH, indirect=True)
async def test_visit(start: Start, origin: str, pg: asyncpg.Connection) -> None:
    """Each browser signs in, sends a form that is older than its token, shows the devices and signs out."""
    browser = await start()
    await sign_in(browser, origin)
    await rotate_once(browser, pg)
    await browser.click("#act")
    await browser.wait_for("document.querySelector('h1').innerText === 'done by ada'")
    await browser.open(origin + PAGE)
    assert await browser.count(".as-devices > li.as-this") == 1
    await browser.open(f"{origin}/forms")
    await browser.click("#sign-out")
    await browser.wait_for("document.querySelector('h1').innerText === 'nobody'")
    assert await browser.cookies() == {}
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 0
