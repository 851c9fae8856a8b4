"""The looks of the demo and its devices page in a real Chromium. What they do, tests/browsers shows in each browser."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from aiohttp.test_utils import TestServer
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from demo.accounts import SAMPLES
from demo.app import make_app
from tests.world.app import SECRET

pytestmark = pytest.mark.needs("chromium")

NAME, PASSWORD = next(iter(SAMPLES.items()))
PATIENCE = 60_000  # milliseconds; what is said to happen within a second has time on a busy machine
expect.set_options(timeout=PATIENCE)
LARGEST = 40_000  # bytes
LOOKS = [(360, "light"), (768, "dark"), (1280, "light"), (1280, "dark")]  # width of the window, color scheme

# How far things have moved since the page began to load; the browser tells observers in a task of their own.
SHIFT = """
new Promise((done) => {
  let sum = 0;
  const add = (list) => { for (const entry of list.getEntries()) sum += entry.value; };
  new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 50);
})
"""

# What the page has loaded, and how large each was; the stream of events is open.
SIZES = """
Object.fromEntries(
  [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .filter((entry) => entry.initiatorType !== "other" || entry.entryType === "navigation")
    .map((entry) => [entry.name, entry.decodedBodySize])
)
"""


@dataclass
class Visitor:
    """A browser profile: its page, and what went wrong in it."""

    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        """Keep what the console was told."""
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    async def sign_in(self) -> None:
        """Sign in by the form, and go to the devices page."""
        await self.page.goto("/sign-in")
        await self.page.get_by_label("Name").fill(NAME)
        await self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.wait_for_url("**/")
        await self.page.goto("/devices")


class Street:
    """A running demo and the browsers in front of it."""

    def __init__(self, chromium: Browser, origin: str) -> None:
        """Nobody has come yet."""
        self._chromium = chromium
        self._visitors: list[Visitor] = []
        self.origin = origin

    async def visitor(self, **options: Any) -> Visitor:
        """Return a new browser profile; options are Playwright's."""
        context = await self._chromium.new_context(base_url=self.origin, locale="en-GB", **options)
        context.set_default_timeout(PATIENCE)
        visitor = Visitor(context, await context.new_page())
        visitor.page.on("console", visitor.note)
        visitor.page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        self._visitors.append(visitor)
        return visitor

    async def close(self) -> None:
        """Send everybody home; nothing may have gone wrong in any page."""
        complaints = [complaint for visitor in self._visitors for complaint in visitor.complaints]
        for visitor in self._visitors:
            await visitor.context.close()
        assert complaints == []


@pytest.fixture
async def street(empty_dsn: str, chromium: Browser) -> AsyncIterator[Street]:
    """Return a running demo on a database of its own."""
    server = TestServer(make_app(empty_dsn, secret=SECRET, insecure_cookies=True))
    await server.start_server()
    try:
        street = Street(chromium, f"http://127.0.0.1:{server.port}")
        yield street
        await street.close()
    finally:
        await server.close()


def rows(page: Page) -> Any:
    """Find the sessions in the list."""
    return page.locator(".as-devices > li")


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
async def test_pages_are_accessible(width: int, scheme: str, street: Street, empty_dsn: str) -> None:
    """Axe finds nothing to object to, nothing is wider than the screen, and nothing moves while the page loads."""
    one = await street.visitor(viewport={"width": width, "height": 900}, color_scheme=scheme)
    other = await street.visitor()
    await one.sign_in()
    await other.sign_in()
    await expect(rows(one.page)).to_have_count(2)
    pages = ["/", "/notes", "/devices", "/devices/end-others", "/devices/sign-out-everywhere", "/confirm"]
    end = await one.page.locator(".as-devices li:not(.as-this) a").get_attribute("href")
    assert end
    for path in [*pages, end]:
        await one.page.goto(path)
        await _assert_accessible(one.page, path)
    pg = await asyncpg.connect(empty_dsn)
    await pg.execute("delete from aiosess_sessions")
    await pg.close()
    for path in ("/sign-in", "/devices"):
        await one.page.goto(path)
        await _assert_accessible(one.page, path)


async def _assert_accessible(page: Page, path: str) -> None:
    """Ask axe, and look at what a person would see at once."""
    results = await Axe().run(page)
    assert results.violations_count == 0, f"{path}: {results.generate_report()}"
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} is too wide"
    shift = await page.evaluate(SHIFT)
    assert shift == 0, f"{path} moves while it loads"


async def test_page_is_small(street: Street) -> None:
    """Everything that the devices page loads is under 40 kB, and comes from the same origin."""
    one = await street.visitor()
    await one.sign_in()
    await one.page.reload(wait_until="load")
    loaded: dict[str, int] = await one.page.evaluate(SIZES)
    assert len(loaded) > 2, "the page, its stylesheet and its script at least"
    assert sum(loaded.values()) < LARGEST, loaded
    assert all(url.startswith(street.origin) for url in loaded)
