"""Debian's Chromium, headless, driven by Playwright over the DevTools protocol."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from playwright.async_api import ConsoleMessage, Error, Page, async_playwright

from tests.world.browsers.real import BrowserError, RealBrowser

# As root Chromium needs the first; the others keep it from asking for hosts of its own.
SWITCHES: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PORT_FILE = "DevToolsActivePort"  # Chromium writes the port that it chose into its profile


class Chromium(RealBrowser):
    """Debian's Chromium."""

    def __init__(self, profile: Path, *, scripts: bool = True) -> None:
        """Start nothing yet."""
        super().__init__(profile, scripts=scripts)
        self._connection = AsyncExitStack()
        self._page: Page | None = None

    @property
    def page(self) -> Page:
        """The page, for what only Playwright can do."""
        assert self._page is not None, "Chromium does not run"
        return self._page

    async def start(self) -> None:
        """Start it and connect Playwright."""
        port = self.profile / PORT_FILE
        port.unlink(missing_ok=True)
        debugging = ("--remote-debugging-address=127.0.0.1", "--remote-debugging-port=0")
        await self.processes.start(
            *("chromium", "--headless", f"--user-data-dir={self.profile}", *debugging, *SWITCHES, "about:blank")
        )
        number = (await self.processes.written(port)).split()[0]
        playwright = await self._connection.enter_async_context(async_playwright())
        browser = await playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{number}")
        (context, *_) = browser.contexts
        self._page = context.pages[0] if context.pages else await context.new_page()
        self._page.on("console", self._note)
        self._page.on("pageerror", lambda error: self.complaints.append(str(error)))
        devtools = await context.new_cdp_session(self._page)
        await devtools.send("Emulation.setScriptExecutionDisabled", {"value": not self.scripts})

    async def disconnect(self) -> None:
        """End Playwright."""
        await self._connection.aclose()
        self._page = None

    async def quit(self) -> None:
        """End as a user ends it, so that it saves what it keeps."""
        session = await self.page.context.new_cdp_session(self.page)
        await session.send("Browser.close")
        await self.processes.ended()
        await self.disconnect()

    async def open(self, url: str) -> None:
        """Load a page."""
        await self.page.goto(url)

    async def reload(self) -> None:
        """Load the page again."""
        await self.page.reload()

    async def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression gives in the page; a promise is awaited."""
        try:
            return await self.page.evaluate(expression)
        except Error as error:
            raise BrowserError(error.message) from None

    async def click(self, selector: str) -> None:
        """Click the first element that a CSS selector finds, as soon as it is there."""
        await self.page.locator(selector).first.click()

    async def fill(self, selector: str, text: str) -> None:
        """Type a text into an empty field."""
        await self.page.locator(selector).first.press_sequentially(text)

    async def press(self, key: str) -> None:
        """Press "Tab" or "Enter" wherever the focus is."""
        await self.page.keyboard.press(key)

    async def cookies(self) -> dict[str, str]:
        """Return the values of the page's cookies, HttpOnly ones too."""
        return {cookie["name"]: cookie["value"] for cookie in await self.page.context.cookies(self.page.url)}

    async def screenshot(self) -> bytes:
        """Return what the page looks like, as a PNG."""
        return await self.page.screenshot()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)
