"""Several sign-ins and sign-outs that one handler starts at once."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from aiosess import SessionManager
from tests.world.databases import session_count
from tests.world.site import Site
from tests.world.wire import set_cookies

Job = Callable[[SessionManager], Awaitable[object]]


@pytest.mark.parametrize("signed_in", [False, True])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda s: s.logout(), lambda s: s.authenticate("bob")),
        (lambda s: s.authenticate("bob"), lambda s: s.logout()),
        (lambda s: s.authenticate("bob"), lambda s: s.authenticate("carol")),
        (lambda s: s.logout_all(), lambda s: s.authenticate("bob")),
        (lambda s: s.authenticate("bob"), lambda s: s.rotate()),
        (lambda s: s.authenticate("bob"), lambda s: s.logout_all()),
    ],
)
async def test_each_row_has_its_cookie(
    first: Job, second: Job, site: Site, pg: asyncpg.Connection, *, signed_in: bool
) -> None:
    """Whatever runs at once in one request, the browser holds the token of the one session that is left, if any."""

    async def both(sessions: SessionManager) -> None:
        await asyncio.gather(first(sessions), second(sessions), return_exceptions=True)

    browser = await site.browser()
    if signed_in:
        await browser.login("alice")
    await browser.run(both)
    assert len(set_cookies(browser.reply)) <= 1
    user = await browser.user()
    assert await session_count(pg) == (user is not None)
