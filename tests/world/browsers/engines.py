"""Which browsers a test runs in: all three in a nightly run, and Chromium alone in the usual one."""

import os

import pytest

from tests.world.browsers.chromium import Chromium
from tests.world.browsers.firefox import Firefox
from tests.world.browsers.webkit import WebKit

NIGHTLY = os.environ.get("AIOSESS_NIGHTLY") == "1"

EACH = [
    pytest.param(Chromium, id="chromium", marks=pytest.mark.needs("chromium")),
    pytest.param(Firefox, id="firefox", marks=pytest.mark.needs("firefox-esr")),
    pytest.param(WebKit, id="webkit", marks=pytest.mark.needs("WebKitWebDriver", "Xvfb")),
]
USUAL = EACH if NIGHTLY else EACH[:1]
