"""Rotation over HTTP, successors: which response carries one, and what lost and reordered responses lead to."""

import asyncio
from collections import Counter
from itertools import count

import asyncpg
import pytest
from aiohttp import web

from aiosess import events
from tests.rotation.routes import ROUTES
from tests.rotation.steps import minted, of_kind, promoted, row, settle
from tests.world.ageing import age, make_due
from tests.world.app import make_app
from tests.world.cookies import read, sign
from tests.world.site import Site, visit
from tests.world.waiting import Gate
from tests.world.wire import Reply, request_bytes

pytestmark = pytest.mark.site(*ROUTES)


@pytest.mark.threat("ROT-08")
async def test_minting_waits_for_the_headers(site: Site, pg: asyncpg.Connection, gate: Gate) -> None:
    """Nothing is minted while the handler runs: the successor is made when the headers are about to go out."""
    token = await site.login()
    await make_due(pg)
    response = asyncio.create_task(site.present(token, "/gate"))
    await gate.entered.wait()
    assert (await row(pg))["mint_until"] is None
    gate.opened.set()
    reply = await response
    assert reply.token
    assert (await row(pg))["mint_until"] is not None


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/fail", ()),
        ("/fail?status=500", ()),
        ("/fail?status=503", ()),
        ("/me", (b"Sec-Purpose: prefetch",)),
        ("/me", (b"Sec-Purpose: prefetch;prerender",)),
        ("/cached?control=public,+max-age%3D60", ()),
        ("/cached?control=Public", ()),
        ("/cached?control=max-age%3D31536000,+immutable", ()),
    ],
)
async def test_some_responses_carry_no_successor(
    site: Site, pg: asyncpg.Connection, target: str, headers: tuple[bytes, ...]
) -> None:
    """A server's error, a prefetch and a response for shared caches get no successor and leave the lease free."""
    token = await site.login()
    await make_due(pg)
    assert (await site.present(token, target, *headers)).token is None
    assert (await row(pg))["mint_until"] is None
    assert (await site.present(token)).token


async def test_private_response_carries_a_successor(site: Site, pg: asyncpg.Connection) -> None:
    """A response that only the user's own browser may keep does get the successor, and is then not stored."""
    token = await site.login()
    await make_due(pg)
    reply = await site.present(token, "/cached?control=private,+max-age%3D60")
    assert reply.token
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.threat("ROT-01")
async def test_parallel_requests_get_one_successor(site: Site, pg: asyncpg.Connection) -> None:
    """Fifty parallel requests at the due time are all accepted, and one of them brings the successor."""
    token = await site.login()
    await make_due(pg)
    replies = await asyncio.gather(*(site.present(token) for _ in range(50)))
    assert Counter(reply.user for reply in replies) == {"ada": 50}
    assert len([reply for reply in replies if reply.token]) == 1


@pytest.mark.threat("ROT-01")
async def test_two_installations_mint_once(site: Site, pg: asyncpg.Connection, dsn: str) -> None:
    """Two installations that share only the database mint one successor for fifty requests between them."""
    token = await site.login()
    async with visit(make_app(dsn)) as other:
        assert (await other.present(token)).user == "ada"
        await make_due(pg)
        replies = await asyncio.gather(*((site, other)[n % 2].present(token) for n in range(50)))
        assert Counter(reply.user for reply in replies) == {"ada": 50}
        (successor,) = [reply.token for reply in replies if reply.token]
        users = await asyncio.gather(*((site, other)[n % 2].present(successor) for n in range(50)))
        assert {reply.user for reply in users} == {"ada"}
        assert (await row(pg))["version"] == 2


@pytest.mark.threat("ROT-02")
@pytest.mark.parametrize("presented", [(0, 1), (1, 0), (0, 1, 0), (1, 0, 1), (0, 1, 0, 1)])
async def test_successors_minted_twice_converge(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], presented: tuple[int, ...]
) -> None:
    """Two successors of one token whose responses come in any order leave the browser signed in with either."""
    token = await site.login()
    first = await minted(site, pg, token)
    await age(pg, 601)
    second = (await site.present(token)).token
    assert second
    for choice in presented:
        assert (await site.present((first, second)[choice])).user == "ada"
    kept = sign(read((first, second)[presented[-1]]))
    for _ in range(3):
        assert (await site.present(kept)).user == "ada"
        await age(pg, 30)
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("ROT-03")
@pytest.mark.parametrize(("seconds", "mints"), [(1, False), (120, False), (601, True), (259_200, True)])
async def test_lost_successor_logs_nobody_out(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], seconds: int, *, mints: bool
) -> None:
    """When the response with the successor is lost, the old token goes on, and gets another after the lease."""
    token = await site.login()
    await minted(site, pg, token)
    await age(pg, seconds)
    reply = await site.present(token)
    assert reply.user == "ada"
    assert (reply.token is not None) is mints
    if reply.token:
        assert (await site.present(reply.token)).user == "ada"
        assert (await row(pg))["token_id"] == read(reply.token).id
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("ROT-03")
async def test_losing_every_other_response_logs_nobody_out(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A browser that loses every second response goes on through ten rotations."""
    token = await site.login()
    for _ in range(10):
        await minted(site, pg, token)  # lost
        await age(pg, 601)
        reply = await site.present(token)
        assert reply.token
        token = reply.token
        assert (await site.present(token)).user == "ada"  # lost, too, but what it had to say is in the row
    assert (await row(pg))["version"] == 11
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("ROT-08")
async def test_a_second_upload_is_not_taken_for_a_copy(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """Two buffered uploads, one with the old token and one with its successor, leave only one successor about."""
    old = await site.login()
    successor = await minted(site, pg, old)  # the uploads leave before anything else is sent with it
    await age(pg, 390)
    assert (await site.present(old)).token is None  # the first upload arrives
    await age(pg, 60)
    assert (await site.present(successor)).user == "ada"
    await settle(site, pg, successor)
    await age(pg, 240)
    assert (await site.present(successor)).user == "ada"  # the second one
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("ROT-04")
@pytest.mark.parametrize("changes", [False, True], ids=["one User-Agent", "always another"])
async def test_thief_who_throws_successors_away_is_found(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], *, changes: bool
) -> None:
    """A script that replays a stolen cookie and keeps no new one does not keep the owner from getting one."""
    stolen = await site.login()
    versions = count()

    async def steal() -> Reply:
        return await site.present(stolen, "/me", b"User-Agent: script/%d" % (next(versions) if changes else 1))

    await make_due(pg)
    assert (await steal()).token, "the thief takes the lease"
    assert (await site.present(stolen)).token is None
    for seconds in (121, 241, 481):
        await age(pg, seconds)
        assert (await steal()).token, "again, and again first"
        assert (await site.present(stolen)).token is None
    await age(pg, 61)
    assert (await steal()).token is None
    successor = (await site.present(stolen)).token
    assert successor
    assert (await site.present(successor)).user == "ada"
    await settle(site, pg, successor)
    await age(pg, 601)
    assert (await steal()).user is None
    assert (await site.present(successor)).user is None
    assert len(of_kind(happened, events.ReuseDetected)) == 1


@pytest.mark.threat("ROT-04")
async def test_promoting_once_makes_nobody_at_home(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A thief who presents a successor once, and then replays the old cookie, does not take the owner's place."""
    stolen = await site.login()
    thief, accomplice = b"User-Agent: thief", b"User-Agent: accomplice"
    await make_due(pg)
    first = (await site.present(stolen, "/me", thief)).token or ""
    assert (await site.present(first, "/me", thief)).user == "ada"
    await age(pg, 601)
    second = (await site.present(stolen, "/me", accomplice)).token or ""
    assert (await site.present(second, "/me", thief)).user == "ada", "a sibling"
    await age(pg, 241)
    assert (await site.present(stolen, "/me", accomplice)).token, "again, and again first"
    await age(pg, 61)
    successor = (await site.present(stolen)).token
    assert successor
    assert (await site.present(successor)).user == "ada"
    await settle(site, pg, successor)
    await age(pg, 601)
    assert (await site.present(stolen, "/me", thief)).user is None
    assert len(of_kind(happened, events.ReuseDetected)) == 1


@pytest.mark.threat("ROT-04")
async def test_stolen_successor_makes_nobody_at_home(site: Site, pg: asyncpg.Connection) -> None:
    """A thief who presents the owner's successor first, and settles it, is not at home in the session."""
    stolen = await minted(site, pg, await site.login())
    assert (await site.present(stolen, "/me", b"User-Agent: thief")).user == "ada"
    await settle(site, pg, stolen)
    assert (await _moved(site, pg, stolen, b"User-Agent: another thief")).token
    await age(pg, 61)
    assert (await site.present(stolen, "/me", b"User-Agent: yet another")).token is None
    assert (await site.present(stolen)).token, "the owner's turn"


@pytest.mark.threat("ROT-04")
async def test_siblings_run_out(site: Site, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """Who makes one successor after the other current ends the session before the row forgets that one was."""
    parent = await site.login()
    siblings = [await minted(site, pg, parent), *(sign(read(parent).successor()) for _ in range(8))]
    for sibling in siblings[:8]:
        assert (await site.present(sibling)).user == "ada"
    assert (await site.present(siblings[0])).user == "ada", "late"
    assert (await site.present(siblings[8])).user is None
    assert len(of_kind(happened, events.ReuseDetected)) == 1


@pytest.mark.threat("ROT-03")
async def test_two_addresses_get_no_two_successors_at_once(site: Site, pg: asyncpg.Connection) -> None:
    """After a lost response too, a browser that asks from two addresses at once is given one successor."""
    token = await site.login()
    elsewhere = b"User-Agent: its other address"
    assert (await _moved(site, pg, token, elsewhere)).token, "lost"
    await age(pg, 121)
    assert (await site.present(token, "/me", elsewhere)).token
    assert (await site.present(token)).token is None


async def test_owner_who_moved_is_at_home_when_the_token_has_settled(site: Site, pg: asyncpg.Connection) -> None:
    """A browser that goes on from another address is the holder from the next token that it settles."""
    moved = b"User-Agent: elsewhere"
    successor = (await _moved(site, pg, await site.login(), moved)).token or ""
    assert (await site.present(successor, "/me", moved)).user == "ada"
    await settle(site, pg, successor)
    assert (await _moved(site, pg, successor, moved)).token
    await age(pg, 61)
    assert (await site.present(successor, "/me", moved)).token is None, "the holder waits for longer"


async def test_who_rotates_is_at_home(site: Site, pg: asyncpg.Connection) -> None:
    """The client that calls rotate() is the holder of the new token, wherever the login came from."""
    moved = b"User-Agent: elsewhere"
    token = (await site.present(await site.login(), "/do/rotate", moved, method="POST")).token or ""
    assert (await _moved(site, pg, token, moved)).token
    await age(pg, 61)
    assert (await site.present(token, "/me", moved)).token is None, "the holder waits for longer"


async def _moved(site: Site, pg: asyncpg.Connection, token: str, agent: bytes) -> Reply:
    await make_due(pg)
    return await site.present(token, "/me", agent)


@pytest.mark.threat("ROT-04")
async def test_others_keep_the_holder_waiting_for_each_token(site: Site, pg: asyncpg.Connection) -> None:
    """Two clients of one browser at once get one successor between them, each time that one is due."""
    token = await site.login()
    for _ in range(3):
        await make_due(pg)
        other = await site.present(token, "/me", b"User-Agent: its other address")
        assert other.token
        assert (await site.present(token)).token is None
        token = other.token
        assert (await site.present(token)).user == "ada"
        await settle(site, pg, token)


@pytest.mark.threat("ROT-02", "SES-02")
@pytest.mark.parametrize("target", ["/gate", "/gate?writes"])
@pytest.mark.parametrize("change", ["rotate", "settled"])
async def test_handler_that_was_overtaken_sends_no_successor(
    site: Site, pg: asyncpg.Connection, gate: Gate, change: str, target: str
) -> None:
    """A request that was due when it came, and no longer is when it answers, sends none, also when it has written."""
    token = await site.login()
    await make_due(pg)
    slow = asyncio.create_task(site.present(token, target))
    await gate.entered.wait()
    if change == "rotate":
        new = (await site.present(token, "/do/rotate", method="POST")).token or ""
    else:
        new = (await site.present(token)).token or ""
        assert (await site.present(new)).user == "ada"
        await settle(site, pg, new)
        await age(pg, 601)
    gate.opened.set()
    assert (await slow).token is None
    assert (await site.present(new)).user == "ada"


@pytest.mark.threat("ROT-01")
async def test_pipelined_requests_get_one_successor(site: Site, pg: asyncpg.Connection) -> None:
    """Requests pipelined on one connection at the due time bring one successor."""
    token = await site.login()
    await make_due(pg)
    wire = await site.wire()
    await wire.send(*[request_bytes("/me", f"Cookie: __Host-session={token}".encode())] * 10)
    replies = [await wire.read() for _ in range(10)]
    assert {reply.user for reply in replies} == {"ada"}
    assert len([reply for reply in replies if reply.token]) == 1


async def test_store_that_falls_away_puts_off_the_successor(dsn: str, pg: asyncpg.Connection) -> None:
    """A response whose successor cannot be leased goes out without one, and is no error."""
    async with asyncpg.create_pool(dsn) as pool:

        async def last(request: web.Request) -> web.Response:
            assert request["sessions"].user_id == "alice"
            await pool.close()
            return web.Response(text="done")

        async with visit(make_app(dsn, web.get("/last", last), pool=pool)) as site:
            browser = await (await site.browser()).login("alice")
            await make_due(pg)
            response = await browser.get("/last")
            assert (response.status, response.headers.getall("Set-Cookie", [])) == (200, [])


@pytest.mark.threat("ROT-10")
async def test_parent_in_flight_mints_no_third_successor(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A request of a crashed browser's burst that comes after the new successor was presented brings no other one."""
    old, _ = await promoted(site, pg)
    await age(pg, 86_400)
    kept = (await site.present(old)).token
    assert kept
    assert (await site.present(kept)).user == "ada"
    reply = await site.present(old)  # was sent together with the first one
    assert (reply.user, reply.token) == ("ada", None)
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("ROT-10")
async def test_two_crashes_log_nobody_out(site: Site, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """A browser that crashes again right after it came back goes on, although a request of its burst was slow."""
    old, _ = await promoted(site, pg)
    await age(pg, 86_400)
    kept = (await site.present(old)).token
    assert kept
    assert (await site.present(kept)).user == "ada"
    newest = (await site.present(old)).token or kept  # was sent together with the first one
    assert (await site.present(newest)).user == "ada"
    await age(pg, 601)
    assert (await site.present(kept)).user == "ada"  # it crashed while only this one was on disk
    assert of_kind(happened, events.ReuseDetected) == []
