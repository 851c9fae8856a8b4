"""Firefox ESR, headless, driven by Marionette: JSON with its length in front, over TCP."""

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.world.browsers.real import BrowserError
from tests.world.browsers.webdriver import WebDriverBrowser

ANSWER_WITHIN = 60  # seconds
LARGEST_ANSWER = 2**26  # bytes; a screenshot has some
PORT_FILE = "MarionetteActivePort"  # Firefox writes the port that it chose into its profile

# Marionette's own defaults keep it from asking hosts of its own; a test's preferences come before them.
PREFERENCES: dict[str, bool | int | str] = {"marionette.port": 0}


class Firefox(WebDriverBrowser):
    """Debian's Firefox ESR."""

    def __init__(self, profile: Path, preferences: Mapping[str, bool | int | str] | None = None) -> None:
        """Take preferences, as about:config names them."""
        super().__init__(profile)
        self.preferences = {**PREFERENCES, **(preferences or {})}
        self._connection: tuple[StreamReader, StreamWriter] | None = None
        self._number = 0

    async def start(self) -> None:
        """Start it and wait until it takes commands; a restored session has its pages open."""
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in self.preferences.items()]
        (self.profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
        port = self.profile / PORT_FILE
        port.unlink(missing_ok=True)
        await self.processes.start(
            *("firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", str(self.profile)),
            MOZ_CRASHREPORTER_DISABLE="1",
        )
        number = int(await self.processes.written(port))
        self._connection = await asyncio.open_connection("127.0.0.1", number, limit=LARGEST_ANSWER)
        await self._receive()  # what it is
        await self.ask("NewSession", capabilities={})

    async def disconnect(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection[1].transport.abort()
            self._connection = None

    async def quit(self) -> None:
        """End as a user ends it, so that it saves what it keeps."""
        await self._send("Marionette:Quit", {"flags": ["eAttemptQuit"]})
        await self.processes.ended()
        await self.disconnect()

    async def ask(self, command: str, **parameters: Any) -> Any:
        """Send a command of WebDriver and return the answer's value."""
        answer = await self._send(f"WebDriver:{command}", parameters)
        return answer["value"] if isinstance(answer, dict) and set(answer) == {"value"} else answer

    async def _send(self, command: str, parameters: dict[str, Any]) -> Any:
        assert self._connection is not None, "Firefox does not run"
        self._number += 1
        text = json.dumps([0, self._number, command, parameters]).encode()
        self._connection[1].write(b"%d:%b" % (len(text), text))
        _, number, error, result = await self._receive()
        assert number == self._number, "answers come in the order of the commands"
        if error is not None:
            message = f"{command}: {error['error']}: {error['message']}"
            raise BrowserError(message)
        return result

    async def _receive(self) -> Any:
        assert self._connection is not None, "Firefox does not run"
        reader = self._connection[0]
        async with asyncio.timeout(ANSWER_WITHIN):
            length = await reader.readuntil(b":")
            return json.loads(await reader.readexactly(int(length[:-1])))
