"""When a login is told as one on a new device."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from aiosess import events
from tests.world.ageing import age
from tests.world.app import make_app
from tests.world.site import Site, visit
from tests.world.waiting import eventually


@pytest.fixture
async def site(dsn: str, happened: list[events.Event]) -> AsyncIterator[Site]:
    """Return a running application whose events are seen."""
    async with visit(make_app(dsn, on_event=happened.append)) as site:
        yield site


async def told(happened: list[events.Event], *expected: type[events.Event]) -> None:
    """Wait for events of these kinds, and see that there are no others."""

    async def are_all_here() -> bool:
        return len(happened) >= len(expected)

    await eventually(are_all_here)
    assert [type(event) for event in happened] == list(expected)


async def test_signing_in_again_is_no_new_device(site: Site, happened: list[events.Event]) -> None:
    """A browser that is signed in and signs in again is known: the session that the login replaces lived until then."""
    browser = await (await site.browser()).login("alice")
    await told(happened, events.Created, events.NewDevice)
    happened.clear()
    await browser.login("alice")
    await told(happened, events.Revoked, events.Created)


async def test_the_session_of_another_user_makes_no_device_known(site: Site, happened: list[events.Event]) -> None:
    """Where somebody else was signed in, the device is new to the one who signs in now."""
    browser = await (await site.browser()).login("alice")
    happened.clear()
    await browser.login("bob")
    await told(happened, events.Revoked, events.Created, events.NewDevice)


async def test_a_device_is_new_after_signing_out(site: Site, happened: list[events.Event]) -> None:
    """Only live sessions make a device known: after signing out the next login is told as new."""
    browser = await (await site.browser()).login("alice")
    await browser.post("/do/logout")
    happened.clear()
    await browser.login("alice")
    await told(happened, events.Created, events.NewDevice)


async def test_a_device_is_new_when_its_session_has_expired(
    site: Site, happened: list[events.Event], pg: asyncpg.Connection
) -> None:
    """A session whose time was up makes no device known, swept or not."""
    browser = await (await site.browser()).login("alice")
    await age(pg, 10**8)
    happened.clear()
    await browser.login("alice")
    await told(happened, events.Created, events.NewDevice)
