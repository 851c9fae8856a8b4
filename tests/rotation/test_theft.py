"""Thieves by their manners: whoever goes on beside the owner is found, both are out, and it is told once."""

import heapq
from collections.abc import Iterator
from itertools import cycle

import asyncpg
import pytest

from aiosess import events
from tests.world.ageing import age
from tests.world.browser import firefox
from tests.world.site import Site

MINUTE, HOUR = 60, 3600
LONGEST = 46 * MINUTE  # docs/rotation.md: with the defaults, when both ask at least once a minute


class Party:
    """Somebody who asks with a cookie, now and then, and keeps what comes."""

    def __init__(self, site: Site, version: int, pauses: Iterator[int], *, keeps: bool = True) -> None:
        """Have no cookie yet."""
        self._site, self.agent, self._keeps = site, firefox(version), keeps
        self.pauses = pauses
        self.token = "none"

    async def ask(self, target: str = "/me", method: str = "GET") -> bool:
        """Ask, and say whether that went on being signed in."""
        reply = await self._site.present(self.token, target, f"User-Agent: {self.agent}".encode(), method=method)
        if reply.token is not None and self._keeps:
            self.token = reply.token
        return target != "/me" or reply.user == "ada"


async def chase(pg: asyncpg.Connection, site: Site, *parties: Party) -> tuple[int, Party]:
    """Let the parties ask, each after its pauses, until one is anonymous; return when (seconds), and that one."""
    now, end = 0, 24 * HOUR
    queue = [(next(party.pauses), number) for number, party in enumerate(parties)]
    heapq.heapify(queue)
    while now < end:
        when, number = heapq.heappop(queue)
        await age(pg, when - now)
        now = when
        if not await parties[number].ask():
            return now, parties[number]
        await site.installation.upkeep.flush()
        heapq.heappush(queue, (now + next(parties[number].pauses), number))
    pytest.fail("nobody was found")


async def is_told(site: Site, happened: list[events.Event], presenter: Party, other: Party) -> bool:
    """Say whether both are out, and one alarm names both: who presented the old token, and who had the newer one."""
    assert not await presenter.ask()
    assert not await other.ask()
    (alarm,) = [event for event in happened if isinstance(event, events.ReuseDetected)]
    assert await site.store.count() == 0
    return (alarm.presenter.user_agent, alarm.other.user_agent) == (presenter.agent, other.agent)


@pytest.mark.threat("ROT-04")
@pytest.mark.parametrize("keeps", [True, False], ids=["keeps cookies", "keeps nothing"])
async def test_thief_who_polls_every_five_seconds(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], *, keeps: bool
) -> None:
    """A thief who asks all the time is found in the time that is promised, also one who only replays the copy."""
    owner, thief = Party(site, 140, cycle([MINUTE])), Party(site, 141, cycle([5]), keeps=keeps)
    await owner.ask("/login/ada", "POST")
    thief.token = owner.token
    when, presenter = await chase(pg, site, owner, thief)
    assert when <= LONGEST
    assert await is_told(site, happened, presenter, thief if presenter is owner else owner)


@pytest.mark.threat("ROT-04")
async def test_lazy_thief(site: Site, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """A thief who asks now and then is found when they next ask after a rotation."""
    pauses = [10 * MINUTE, 100 * MINUTE, 37 * MINUTE]
    owner, thief = Party(site, 140, cycle([MINUTE])), Party(site, 141, cycle(pauses))
    await owner.ask("/login/ada", "POST")
    thief.token = owner.token
    when, presenter = await chase(pg, site, owner, thief)
    assert when <= LONGEST + max(pauses)
    assert await is_told(site, happened, presenter, thief if presenter is owner else owner)


@pytest.mark.threat("ROT-04")
async def test_owner_who_is_away_overnight(site: Site, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """A thief who rotates first and goes on all night is out with the owner's first request of the morning."""
    owner, thief = Party(site, 140, cycle([8 * HOUR])), Party(site, 141, cycle([5 * MINUTE]))
    await owner.ask("/login/ada", "POST")
    thief.token = owner.token
    assert await chase(pg, site, owner, thief) == (8 * HOUR, owner)
    assert await is_told(site, happened, owner, thief)
