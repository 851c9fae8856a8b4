"""What every browser of the tests can do, whatever drives it."""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from tests.world.browsers.processes import Processes
from tests.world.waiting import eventually


class BrowserError(Exception):
    """A browser could not do what it was told."""


class RealBrowser(ABC):
    """A browser with a profile of its own, and one page in it."""

    drops_secure_cookies = False  # whether it refuses Secure cookies of http://localhost

    def __init__(self, profile: Path) -> None:
        """Start nothing yet."""
        self.profile = profile
        self.processes = Processes(profile)

    @classmethod
    @asynccontextmanager
    async def started(cls, **options: Any) -> AsyncIterator[Self]:
        """Run a browser with a fresh profile for a while; the options are those of the class."""
        # A process that was killed may still hold a file for a moment.
        with TemporaryDirectory(prefix="aiosess-browser", ignore_cleanup_errors=True) as folder:
            browser = cls(Path(folder), **options)
            try:
                await browser.start()
                yield browser
            finally:
                await browser.kill()

    @abstractmethod
    async def start(self) -> None:
        """Start the programs and connect to them; a restored session may have pages open."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Give up the connection to the programs; does nothing without one."""

    @abstractmethod
    async def quit(self) -> None:
        """End as a user ends it, so that it saves what it keeps."""

    async def kill(self) -> None:
        """End its processes by SIGKILL."""
        await self.processes.kill()
        await self.disconnect()

    async def restart(self) -> None:
        """Start again with the same profile, after kill() or quit()."""
        await self.start()

    @abstractmethod
    async def open(self, url: str) -> None:
        """Load a page."""

    @abstractmethod
    async def reload(self) -> None:
        """Load the page again."""

    @abstractmethod
    async def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression gives in the page; a promise is awaited."""

    @abstractmethod
    async def click(self, selector: str) -> None:
        """Click the first element that a CSS selector finds, as soon as it is there."""

    @abstractmethod
    async def fill(self, selector: str, text: str) -> None:
        """Type a text into an empty field."""

    @abstractmethod
    async def press(self, key: str) -> None:
        """Press "Tab" or "Enter" wherever the focus is."""

    @abstractmethod
    async def cookies(self) -> dict[str, str]:
        """Return the values of the page's cookies, HttpOnly ones too."""

    @abstractmethod
    async def screenshot(self) -> bytes:
        """Return what the page looks like, as a PNG."""

    async def url(self) -> str:
        """Return the page's address."""
        found: str = await self.evaluate("location.href")
        return found

    async def text(self, selector: str = "body") -> str:
        """Return the visible text of the first element that a CSS selector finds."""
        found: str = await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
        return found

    async def count(self, selector: str) -> int:
        """Return how many elements a CSS selector finds."""
        found: int = await self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length")
        return found

    async def wait_for(self, expression: str, *, within: float = 60) -> None:
        """Wait until a JavaScript expression is true in the page, which may change meanwhile."""
        last: list[BrowserError] = []

        async def holds() -> bool:
            try:
                return bool(await self.evaluate(expression))
            except BrowserError as error:  # the page was just replaced
                last[:] = [error]
                return False

        try:
            await eventually(holds, within=within)
        except AssertionError:
            message = f"not within {within:g} s in {type(self).__name__}: {expression} {last}"
            raise AssertionError(message) from None

    async def wait_for_element(self, selector: str) -> None:
        """Wait until a CSS selector finds something."""
        await self.wait_for(f"document.querySelector({json.dumps(selector)}) !== null")

    async def wait_for_path(self, path: str) -> None:
        """Wait until a page of this path has loaded."""
        await self.wait_for(f"location.pathname === {json.dumps(path)} && document.readyState === 'complete'")
