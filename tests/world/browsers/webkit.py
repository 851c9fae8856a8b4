"""WebKit as GTK programs have it, driven by WebKitWebDriver (WebDriver over HTTP) on a screen that nobody sees."""

import json
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.world.browsers.real import BrowserError
from tests.world.browsers.webdriver import WebDriverBrowser
from tests.world.waiting import eventually

ANSWER_WITHIN: Final = ClientTimeout(total=60)
SCREEN = "1280x1024x24"

# Marionette's names of the commands, and how HTTP spells them (WebDriver, 6.6).
COMMANDS = {
    "Navigate": ("POST", "url"),
    "Refresh": ("POST", "refresh"),
    "ExecuteScript": ("POST", "execute/sync"),
    "FindElement": ("POST", "element"),
    "ElementClick": ("POST", "element/{id}/click"),
    "ElementSendKeys": ("POST", "element/{id}/value"),
    "PerformActions": ("POST", "actions"),
    "GetCookies": ("GET", "cookie"),
    "TakeScreenshot": ("GET", "screenshot"),
    "DeleteSession": ("DELETE", ""),
}


class WebKit(WebDriverBrowser):
    """The MiniBrowser of Debian's WebKitGTK. What it keeps ends with it, whatever becomes of its profile."""

    drops_secure_cookies = True

    def __init__(self, profile: Path, *, scripts: bool = True) -> None:
        """Start nothing yet."""
        super().__init__(profile, scripts=scripts)
        self._client: ClientSession | None = None
        self._session = ""

    async def start(self) -> None:
        """Start a screen, the driver and the browser."""
        display = await self._start_screen()
        port = _free_port()
        await self.processes.start("WebKitWebDriver", "--host=127.0.0.1", f"--port={port}", DISPLAY=display)
        self._client = ClientSession(f"http://127.0.0.1:{port}/", timeout=ANSWER_WITHIN)
        await eventually(self._is_ready)
        arguments = ["--automation", f"--enable-javascript={json.dumps(self.scripts)}"]
        wanted = {"webkitgtk:browserOptions": {"args": arguments}}
        answer = await self._send("POST", "session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"session/{answer['sessionId']}"

    async def disconnect(self) -> None:
        """Close the connection to the driver."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def quit(self) -> None:
        """Close the window, and with it the browser."""
        await self.ask("DeleteSession")
        await self.kill()

    async def ask(self, command: str, **parameters: Any) -> Any:
        """Send a command of WebDriver and return the answer's value."""
        method, path = COMMANDS[command]
        target = "/".join(filter(None, (self._session, path.format(**parameters))))
        return await self._send(method, target, parameters)

    async def _start_screen(self) -> str:
        """Start an X server on the first number that is free, and return its name."""
        number = self.profile / "display"
        number.unlink(missing_ok=True)
        command = ("Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", SCREEN)
        await self.processes.start(*command, output=number)
        return f":{(await self.processes.written(number)).strip()}"

    async def _is_ready(self) -> bool:
        try:
            return bool((await self._send("GET", "status"))["ready"])
        except ClientError:  # it does not listen yet
            return False

    async def _send(self, method: str, target: str, parameters: dict[str, Any] | None = None) -> Any:
        assert self._client is not None, "WebKit does not run"
        body = parameters if method == "POST" else None
        async with self._client.request(method, target, json=body) as response:
            value = (await response.json())["value"]
        if response.status != HTTPStatus.OK:
            message = f"{target}: {value['error']}: {value['message']}"
            raise BrowserError(message)
        return value


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
