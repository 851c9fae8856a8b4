"""What the tests of the web part share."""

import pytest

from tests.web.jobs import SlowWrite
from tests.world.browser import Browser
from tests.world.site import Site


@pytest.fixture
async def alice(site: Site) -> Browser:
    """Return a browser that alice is signed in with."""
    return await (await site.browser()).login("alice")


@pytest.fixture
def slow(site: Site, monkeypatch: pytest.MonkeyPatch) -> SlowWrite:
    """Return the write that is held."""
    return SlowWrite(site, monkeypatch)
