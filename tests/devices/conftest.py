"""One Chromium for all tests of a run, or of a worker of it."""

import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from tests.world.browsers.chromium import SWITCHES


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Return Debian's Chromium; Playwright's own is not needed. Each test opens profiles of its own in it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(SWITCHES))
        try:
            yield browser
        finally:
            await browser.close()
