"""The question that ``aiosess revoke-all`` asks: one word agrees, and nothing that a hand types by habit."""

import asyncio
import os
import subprocess
import sys

import pytest

from tests.world.app import make_app
from tests.world.site import visit


@pytest.mark.parametrize("answer", ["\n", "y\n", "Y\n", "yes please\n", "YES\n", "ye\n", "1\n", "true\n"])
async def test_only_the_whole_word_agrees(answer: str, dsn: str) -> None:
    """Enter, "y" and whatever else is not "yes" leaves everybody signed in."""
    command = (sys.executable, "-m", "aiosess", "revoke-all")
    async with visit(make_app(dsn)) as site:
        browser = await (await site.browser()).login("alice")
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            env=os.environ | {"AIOSESS_DSN": dsn},
            input=answer,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (1, "aiosess: nothing was done\n")
        assert await browser.user() == "alice"
