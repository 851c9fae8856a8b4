"""A short visit in each of the three browsers, in every run; the other files leave Firefox and WebKit to the night."""

import asyncpg
import pytest

from tests.world.app import make_app
from tests.world.browsers.engines import EACH
from tests.world.browsers.real import RealBrowser, Start
from tests.world.browsers.steps import rotate_once, sign_in
from tests.world.devices import PAGE
from tests.world.forms_app import routes
from tests.world.site import visit
from tests.world.waiting import eventually
from tests.world.wire import COOKIE


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


async def test_secure_cookie_of_localhost(
    engine: type[RealBrowser], start: Start, dsn: str, pg: asyncpg.Connection
) -> None:
    """On http://localhost browsers keep the Secure cookie without any option, as the README says; WebKit drops it."""
    async with visit(make_app(dsn, *routes)) as site:
        browser = await start()
        await browser.open(f"http://localhost:{site.port}/forms")
        await browser.fill("input[name=user]", "ada")
        await browser.click("#sign-in")
        await eventually(lambda: pg.fetchval("select count(*) = 1 from aiosess_sessions"))
        await browser.open(f"http://localhost:{site.port}/forms")
        names, user = set(await browser.cookies()), await browser.text("h1")
    assert (names, user) == ((set(), "nobody") if engine.drops_secure_cookies else ({COOKIE}, "ada"))
