"""What the tests of faults ask and wait for."""

import asyncio
from collections import Counter
from datetime import timedelta

from tests.world.site import Site
from tests.world.wire import NAVIGATION

BRIEF = timedelta(seconds=0.5)
# Far more than BRIEF for a busy machine, far less than a request without a deadline takes.
PATIENCE = 20


async def is_up(site: Site) -> bool:
    """Say whether the site knows again who is asking."""
    return (await site.present("none", "/me")).status == 200 and not site.installation.database.outage.is_on


async def ask_all(site: Site, token: str, target: str, times: int) -> Counter[tuple[int, str | None]]:
    """Ask for a page many times at once, and count what came: status and cookie."""
    async with asyncio.timeout(PATIENCE):
        replies = await asyncio.gather(*(site.present(token, target, *NAVIGATION) for _ in range(times)))
    return Counter((reply.status, reply.token) for reply in replies)


async def is_in_flight(site: Site) -> bool:
    """Say whether a query for a check is on its way."""
    return bool(site.installation.checker._in_flight)
