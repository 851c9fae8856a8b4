"""Cross-site request forgery, as real browsers send it."""

import asyncpg
import pytest

from tests.world.app import make_app
from tests.world.browsers.real import RealBrowser, Start
from tests.world.browsers.steps import rotate_once, sign_in
from tests.world.forms_app import foreign_site, routes
from tests.world.site import visit

TOKEN = "document.querySelector('#act').form.csrf_token.value"


@pytest.mark.threat("CSR-01")
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"], ids=["same site", "cross site"])
async def test_form_of_a_foreign_origin_is_refused(browser: RealBrowser, origin: str, host: str) -> None:
    """A form of another port or host is refused, even with the right form token: the browser tells its origin."""
    async with foreign_site(f"{origin}/forms/act", await browser.evaluate(TOKEN)) as port:
        await browser.open(f"http://{host}:{port}/")
        await browser.click("#trap")
        await browser.wait_for_path("/forms/act")
        assert "403" in await browser.text()
    await browser.open(f"{origin}/forms")
    assert await browser.text("h1") == "ada"


@pytest.mark.threat("CSR-02")
async def test_form_without_its_token_is_refused(browser: RealBrowser) -> None:
    """A form of our own origin needs the session's form token."""
    await browser.click("#without")
    await browser.wait_for_path("/forms/act")
    assert "403" in await browser.text()


@pytest.mark.threat("CSR-02")
async def test_form_outlives_rotations(browser: RealBrowser, pg: asyncpg.Connection) -> None:
    """A form that was open while tokens rotated can still be sent."""
    for _ in range(3):
        await rotate_once(browser, pg)
    await browser.click("#act")
    await browser.wait_for("document.querySelector('h1').innerText === 'done by ada'")


@pytest.mark.threat("CSR-04")
async def test_sign_in_and_sign_out_cannot_be_forged(browser: RealBrowser, origin: str) -> None:
    """A foreign page can neither sign the user out nor sign them in as somebody else."""
    token = await browser.evaluate(TOKEN)
    for action in ("sign-out", "sign-in"):
        async with foreign_site(f"{origin}/forms/{action}", token) as port:
            await browser.open(f"http://localhost:{port}/")
            await browser.click("#trap")
            await browser.wait_for_path(f"/forms/{action}")
            assert "403" in await browser.text()
    await browser.open(f"{origin}/forms")
    assert await browser.text("h1") == "ada"


@pytest.mark.threat("CSR-05")
async def test_sign_in_form_works_after_a_link_from_elsewhere(
    engine: type[RealBrowser], start: Start, dsn: str, pg: asyncpg.Connection
) -> None:
    """With SameSite=Strict a link from another site shows a signed-in user the form for nobody; the form works."""
    app = make_app(dsn, *routes, insecure_cookies=engine.drops_secure_cookies, cookie_samesite="Strict")
    async with visit(app) as site:
        browser, origin = await start(), f"http://localhost:{site.port}"
        await sign_in(browser, origin)
        async with foreign_site(f"{origin}/forms/sign-in", "") as port:
            await browser.open(f"http://127.0.0.1:{port}/link")
            await browser.click("#link")
        await browser.wait_for("document.querySelector('h1')?.innerText === 'nobody'")
        await browser.fill("input[name=user]", "grace")
        await browser.click("#sign-in")
        await browser.wait_for("document.querySelector('h1')?.innerText === 'grace'")
        assert await pg.fetchval("select string_agg(user_id, ' ') from aiosess_sessions") == "grace"
