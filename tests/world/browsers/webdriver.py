"""A browser that takes the commands of WebDriver (W3C), over whatever connection."""

from abc import abstractmethod
from base64 import b64decode
from typing import Any

from tests.world.browsers.real import BrowserError, RealBrowser

KEYS = {"Tab": "\ue004", "Enter": "\ue007"}
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the name of an element's id in answers (WebDriver, 12.1)

# A promise's value or error comes back by the last argument.
SCRIPT = """
const done = arguments[arguments.length - 1];
new Promise((resolve) => resolve((%s))).then(
  (value) => done({ value: value === undefined ? null : value }),
  (error) => done({ error: String(error) }),
);
"""


class WebDriverBrowser(RealBrowser):
    """A browser that takes the commands of WebDriver."""

    @abstractmethod
    async def ask(self, command: str, **parameters: Any) -> Any:
        """
        Send a command of WebDriver by its name in Marionette, and return the answer's value.

        Raises:
            BrowserError: it could not be done.

        """

    async def open(self, url: str) -> None:
        """Load a page."""
        await self.ask("Navigate", url=url)

    async def reload(self) -> None:
        """Load the page again."""
        await self.ask("Refresh")

    async def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression gives in the page; a promise is awaited."""
        # Without a sandbox's name, Marionette shows the script what the page's own scripts have set.
        answer = await self.ask("ExecuteAsyncScript", script=SCRIPT % expression, args=[], sandbox=None)
        if "error" in answer:
            raise BrowserError(answer["error"])
        return answer["value"]

    async def click(self, selector: str) -> None:
        """Click the first element that a CSS selector finds, as soon as it is there."""
        await self.ask("ElementClick", id=await self._element(selector))

    async def fill(self, selector: str, text: str) -> None:
        """Type a text into an empty field."""
        await self.ask("ElementSendKeys", id=await self._element(selector), text=text)

    async def press(self, key: str) -> None:
        """Press "Tab" or "Enter" wherever the focus is."""
        steps = [{"type": kind, "value": KEYS[key]} for kind in ("keyDown", "keyUp")]
        await self.ask("PerformActions", actions=[{"type": "key", "id": "keyboard", "actions": steps}])

    async def cookies(self) -> dict[str, str]:
        """Return the values of the page's cookies, HttpOnly ones too."""
        return {cookie["name"]: cookie["value"] for cookie in await self.ask("GetCookies")}

    async def screenshot(self) -> bytes:
        """Return what the page looks like, as a PNG."""
        return b64decode(await self.ask("TakeScreenshot"))

    async def _element(self, selector: str) -> str:
        await self.wait_for_element(selector)
        found = await self.ask("FindElement", using="css selector", value=selector)
        name: str = found[ELEMENT]
        return name
