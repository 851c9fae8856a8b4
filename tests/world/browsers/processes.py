"""The processes of one browser: started in a folder of their own, and killed with everything that they started."""

import asyncio
import os
import signal
from pathlib import Path

import psutil

from tests.world.waiting import eventually

LOG_END = 2000  # characters


class Processes:
    """Programs that were started for one browser; what they print goes to a file in its folder."""

    def __init__(self, folder: Path) -> None:
        """Start nothing yet."""
        self.folder = folder
        self._started: list[asyncio.subprocess.Process] = []
        self._log = folder / "log"

    async def start(self, *command: str, **environment: str) -> asyncio.subprocess.Process:
        """Start a program that keeps what it has to keep in the folder."""
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | {"HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)} | environment,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    async def written(self, path: Path) -> str:
        """Return the text of a file as soon as a program has written it; fail when a program ends instead."""
        await eventually(lambda: self._has_ended() or _text(path))
        if self._has_ended():
            message = f"a browser's program ended before it was ready: {_text(self._log)[-LOG_END:]}"
            raise AssertionError(message)
        return _text(path)

    def _has_ended(self) -> bool:
        return any(process.returncode is not None for process in self._started)

    async def ended(self) -> None:
        """Wait until all programs have ended by themselves."""
        await asyncio.wait_for(asyncio.gather(*(process.wait() for process in self._started)), 60)
        self._started.clear()

    async def kill(self) -> None:
        """Kill the programs and their descendants at once (SIGKILL), and wait until none is left."""
        family: list[psutil.Process] = []
        for process in self._started:
            if process.returncode is None:
                parent = psutil.Process(process.pid)
                family += [parent, *parent.children(recursive=True)]
        for member in family:
            try:
                member.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        for process in self._started:
            await process.wait()
        self._started.clear()
        await eventually(lambda: not any(map(_runs, family)))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
