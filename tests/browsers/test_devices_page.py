"""The demo's devices page in real browsers: what others do appears by itself, and a keyboard is enough."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from demo.accounts import SAMPLES
from demo.app import make_app
from tests.world.ageing import age
from tests.world.app import SECRET
from tests.world.browsers.real import RealBrowser, Start
from tests.world.site import PatientServer

NAME, PASSWORD = next(iter(SAMPLES.items()))
SESSIONS = ".as-devices > li"
OTHER = ".as-devices > li:not(.as-this) a"
THIS = ".as-devices > li.as-this a"
CONFIRM = "form button.as-solid"


@pytest.fixture
async def origin(empty_dsn: str, engine: type[RealBrowser]) -> AsyncIterator[str]:
    """Return where a demo runs, on a database of its own."""
    app = make_app(empty_dsn, secret=SECRET, insecure_cookies=engine.drops_secure_cookies)
    async with PatientServer(app) as server:  # a page that goes away leaves its icon half asked for
        yield f"http://localhost:{server.port}"


async def sign_in(browser: RealBrowser, origin: str) -> RealBrowser:
    """Sign in by the form, and go to the devices page."""
    await browser.open(f"{origin}/sign-in")
    await browser.fill("#name", NAME)
    await browser.fill("#password", PASSWORD)
    await browser.click("form button.primary")
    await browser.wait_for_path("/")
    await browser.open(f"{origin}/devices")
    return browser


@pytest.fixture
async def one(start: Start, origin: str) -> AsyncIterator[RealBrowser]:
    """Return a browser that shows the devices page; its console hears of no error, and of nothing that CSP blocked."""
    one = await sign_in(await start(), origin)
    yield one
    assert [text for text in one.complaints if "status of 401" not in text] == []


@pytest.fixture
async def other(start: Start, one: RealBrowser, origin: str) -> RealBrowser:
    """Return another browser of the same user, which signed in when the page of the first was open already."""
    assert await one.count(SESSIONS) == 1
    return await sign_in(await start(), origin)


async def shows(browser: RealBrowser, number: int) -> None:
    """Wait until a page shows this many sessions."""
    await browser.wait_for(f"document.querySelectorAll('{SESSIONS}').length === {number}")


@pytest.mark.threat("SES-14")
async def test_revoked_browser_is_out_without_reload(one: RealBrowser, other: RealBrowser, origin: str) -> None:
    """One browser ends the other's session, whose open page says so by itself, and which has to sign in again."""
    await shows(one, 2)
    await one.click(OTHER)
    await one.click(CONFIRM)
    await one.wait_for_element("p.as-notice[role=status]")
    await shows(one, 1)
    await other.wait_for_element("[role=alert]")
    await shows(other, 0)
    await other.open(f"{origin}/devices")
    await other.wait_for_path("/sign-in")


async def test_sign_in_elsewhere_appears_by_itself(one: RealBrowser, other: RealBrowser, origin: str) -> None:
    """An open page shows a new sign-in and a sign-out without a reload, and the focus stays where it was."""
    await one.evaluate(f"document.querySelector('{THIS}').focus()")
    await shows(one, 2)
    assert await one.evaluate("document.activeElement.closest('.as-this') !== null")
    await other.click("form.leave button")
    await other.wait_for_path("/sign-in")
    await shows(one, 1)
    assert await one.evaluate("document.activeElement.closest('.as-this') !== null")
    assert await one.url() == f"{origin}/devices"


async def test_user_signs_out_on_the_page(one: RealBrowser, origin: str) -> None:
    """A user ends the session of the browser in hand, and the page is closed to it from then on."""
    await one.click(THIS)
    await one.click(CONFIRM)
    await one.wait_for_path("/sign-in")
    assert await one.cookies() == {}
    await one.open(f"{origin}/devices")
    await one.wait_for_path("/sign-in")


@pytest.mark.threat("DEV-05")
async def test_page_is_complete_without_scripts(start: Start, other: RealBrowser, origin: str) -> None:
    """With scripts off one can see the devices, end one after a question, and sign out everywhere."""
    plain = await sign_in(await start(scripts=False), origin)
    assert await plain.count(SESSIONS) == 3
    assert "This device" in await plain.text(SESSIONS)
    await plain.click(OTHER)
    await plain.click(CONFIRM)
    await shows(plain, 2)
    await plain.click("a[href$='/sign-out-everywhere']")
    await plain.click(CONFIRM)
    await plain.wait_for_path("/sign-in")
    for browser in (plain, other):
        await browser.open(f"{origin}/devices")
        await browser.wait_for_path("/sign-in")


async def test_keyboard_alone_ends_a_session(one: RealBrowser, other: RealBrowser) -> None:
    """With Tab and Enter one reaches the other device, the question, and the end of it; the focus is always seen."""
    await shows(one, 2)
    await one.reload()
    await _tab_to(one, OTHER)
    await one.press("Enter")
    await one.wait_for_element(CONFIRM)
    await _tab_to(one, CONFIRM)
    await one.press("Enter")
    await shows(one, 1)
    await other.wait_for_element("[role=alert]")


async def _tab_to(browser: RealBrowser, selector: str) -> None:
    """Press Tab until an element has the focus; each that has it on the way shows it."""
    for _ in range(30):
        await browser.press("Tab")
        outline = await browser.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement);"
            " return s.outlineStyle !== 'none' || s.boxShadow !== 'none'; })()"
        )
        assert outline, await browser.evaluate("document.activeElement.outerHTML")
        if await browser.evaluate(f"document.activeElement.matches('{selector}')"):
            return
    pytest.fail(f"Tab does not reach {selector}")


@pytest.mark.threat("DEV-03")
async def test_stale_sign_in_leads_to_the_question_who_one_is(
    one: RealBrowser, other: RealBrowser, empty_dsn: str
) -> None:
    """When the sign-in is old, ending another session first asks for the password, and then goes on."""
    await shows(other, 2)
    pg = await asyncpg.connect(empty_dsn)
    await age(pg, 3600)
    await pg.close()
    await one.reload()
    await one.click(OTHER)
    await one.wait_for_path("/confirm")
    await one.fill("#password", PASSWORD)
    await one.press("Enter")
    await one.wait_for("location.pathname.endsWith('/end')")
    await one.click(CONFIRM)
    await shows(one, 1)
