"""A real Firefox that is killed and brings back an old session cookie (remember=False)."""

from pathlib import Path

import asyncpg
import pytest

from aiosess import events
from aiosess._token import reader
from tests.rotation.steps import of_kind
from tests.world.ageing import age, make_due
from tests.world.browsers.firefox import Firefox
from tests.world.site import Site
from tests.world.waiting import eventually
from tests.world.wire import COOKIE, VERSION_COOKIE

pytestmark = [pytest.mark.needs("firefox-esr"), pytest.mark.threat("ROT-12")]

# A user's Firefox does this by itself. Marionette's own preferences say otherwise, so that tests begin without tabs.
RESTORES = {
    "browser.sessionstore.resume_from_crash": True,
    "browser.sessionstore.max_resumed_crashes": -1,
    "toolkit.startup.max_resumed_crashes": -1,
    "browser.sessionstore.interval": 100,  # milliseconds until a change of tabs is written; 15,000 by default
}
ASK = "fetch('/me').then((response) => response.json()).then((answer) => answer.user)"


def holds(text: str, *files: Path) -> bool:
    """Whether one of these files has a text."""
    return any(text.encode() in content(file) for file in files if file.exists())


def content(file: Path) -> bytes:
    """Return what stands in a file; the session store is an LZ4 block behind a mark and its size."""
    packed = file.read_bytes()
    return unpacked(packed[12:]) if packed.startswith(b"mozLz40\0") else packed


def unpacked(block: bytes) -> bytes:
    """Unpack an LZ4 block: each sequence has its own bytes, then repeats some that came before (LZ4 Block Format)."""
    plain, here = bytearray(), 0

    def length(short: int) -> int:
        nonlocal here
        more = 255 if short == 15 else 0
        while more == 255:
            more = block[here]
            here += 1
            short += more
        return short

    while here < len(block):
        token = block[here]
        here += 1
        own = length(token >> 4)
        plain += block[here : here + own]
        here += own
        if here < len(block):
            distance = int.from_bytes(block[here : here + 2], "little")
            here += 2
            for _ in range(length(token & 15) + 4):
                plain.append(plain[-distance])
    return bytes(plain)


async def rotate_by_polling(firefox: Firefox, site: Site, pg: asyncpg.Connection) -> None:
    """Let a page ask in the background until its token was replaced and the new one has settled."""
    before = (await firefox.cookies())[COOKIE]
    await make_due(pg)
    for _ in range(2):
        assert await firefox.evaluate(ASK) == "ada"
    assert (await firefox.cookies())[COOKIE] != before
    await age(pg, 61)
    assert await firefox.evaluate(ASK) == "ada"
    await site.installation.upkeep.flush()
    await eventually(lambda: pg.fetchval("select settled_at is not null from aiosess_sessions"))
    await age(pg, 700)  # the late window is over, and no successor is due yet


@pytest.mark.parametrize("counts", [True, False], ids=["with", "without"])
async def test_killed_firefox_brings_back_the_first_cookie(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], monkeypatch: pytest.MonkeyPatch, *, counts: bool
) -> None:
    """
    The user is still signed in; without the version cookie the session would end with a theft alarm.

    The page only polls, so Firefox writes no session store: after three
    rotations it comes back with the cookie of the login.
    """
    if not counts:
        monkeypatch.setattr(reader, "newest_token", lambda token, *_: token)
    origin = f"http://localhost:{site.port}"
    async with Firefox.started(preferences=RESTORES) as firefox:
        await firefox.open(f"{origin}/public")
        await firefox.evaluate("fetch('/login/ada?brief', {method: 'POST'})")
        first = (await firefox.cookies())[COOKIE]
        store = firefox.profile / "sessionstore-backups" / "recovery.jsonlz4"

        async def is_stored() -> bool:
            # A change of tabs is written; that of the login may have been written before its cookie was there.
            await firefox.open(f"{origin}/public?again")
            return holds(first[-43:], store)

        await eventually(is_stored)
        for _ in range(3):
            await rotate_by_polling(firefox, site, pg)
        jar = await firefox.cookies()
        database = firefox.profile / "cookies.sqlite"
        await eventually(lambda: holds(jar[VERSION_COOKIE], database, database.with_name("cookies.sqlite-wal")))
        assert not holds(jar[COOKIE][-43:], store)
        await firefox.kill()

        await firefox.restart()
        await firefox.open(f"{origin}/public")
        jar[COOKIE] = first
        assert await firefox.cookies() == jar
        assert await firefox.evaluate(ASK) == ("ada" if counts else None)
        assert len(of_kind(happened, events.ReuseDetected)) == (not counts)
        if counts:
            await rotate_by_polling(firefox, site, pg)
