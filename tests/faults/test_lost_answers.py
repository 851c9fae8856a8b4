"""Answers of PostgreSQL are lost after the commit."""

import json

import asyncpg
import pytest

import aiosess
from aiosess import events
from aiosess._token.keys import Keyring
from tests.world.ageing import make_due
from tests.world.app import SECRET, make_app
from tests.world.relay import Relay
from tests.world.site import visit

# Answers are lost after the commit


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_a_login_makes_one_session(relay: Relay, pg: asyncpg.Connection) -> None:
    """A login whose answer is lost is asked again and finds itself done: one session, one cookie, told once."""
    happened: list[events.Event] = []
    async with visit(make_app(relay.dsn, on_event=happened.append)) as site:
        relay.lose_answer("aiosess_authenticate")
        token = await site.login()
        assert relay.lost == 1
        assert (await site.present(token)).user == "ada"
        assert await pg.fetchval("select count(*) from aiosess_sessions") == 1
        assert [type(event) for event in happened] == [events.Created, events.NewDevice]


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_a_login_evicts_once(relay: Relay, pg: asyncpg.Connection) -> None:
    """Asking again for a login that had to evict evicts nobody else."""
    async with visit(make_app(relay.dsn, max_sessions_per_user=2)) as site:
        _, second = await site.login(), await site.login()
        relay.lose_answer("aiosess_authenticate")
        third = await site.login()
        assert relay.lost == 1
        assert [(await site.present(token)).user for token in (second, third)] == ["ada", "ada"]
        assert await pg.fetchval("select count(*) from aiosess_sessions") == 2


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_a_promotion_is_no_theft(relay: Relay, pg: asyncpg.Connection) -> None:
    """A promotion whose answer is lost leaves the browser signed in, and raises no alarm."""
    happened: list[events.Event] = []
    async with visit(make_app(relay.dsn, on_event=happened.append)) as site:
        token = await site.login()
        await make_due(pg)
        successor = (await site.present(token)).token
        assert successor
        relay.lose_answer("promoted_at = now(),\n    settled_at = null")
        reply = await site.present(successor)
        assert relay.lost == 1
        assert (reply.user, reply.token) == ("ada", None)
        assert (await site.present(successor)).user == "ada"
        assert await pg.fetchval("select version from aiosess_sessions") == 2
        assert not [event for event in happened if isinstance(event, events.ReuseDetected)]


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_a_lease_only_puts_off_the_successor(relay: Relay, pg: asyncpg.Connection) -> None:
    """A mint whose answer is lost sends no cookie, and the next one after the lease does."""
    async with visit(make_app(relay.dsn)) as site:
        token = await site.login()
        await make_due(pg)
        relay.lose_answer("mint_until = greatest(")
        reply = await site.present(token)
        assert relay.lost == 1
        assert (reply.user, reply.token) == ("ada", None)
        await pg.execute("update aiosess_sessions set mint_until = now(), holder_until = now()")
        assert (await site.present(token)).token


@pytest.mark.threat("DB-06")
@pytest.mark.parametrize("method", ["rotate", "reauthenticated"])
async def test_lost_answer_of_a_rotation_loses_no_session(relay: Relay, pg: asyncpg.Connection, method: str) -> None:
    """A rotation whose answer is lost is asked again and finds itself done: the new token goes out."""
    async with visit(make_app(relay.dsn)) as site:
        token = await site.login()
        relay.lose_answer("secret_hash = $3")
        reply = await site.present(token, f"/do/{method}", method="POST")
        assert relay.lost == 1
        assert reply.status == 200
        assert reply.token
        assert (await site.present(reply.token)).user == "ada"
        assert (await site.present(token)).user is None
        assert await pg.fetchval("select version from aiosess_sessions") == 2


@pytest.mark.threat("DB-06")
@pytest.mark.parametrize(
    ("target", "statement", "status"),
    [
        ("/do/logout", "delete from", 200),
        ("/do/logout_all", "aiosess_revoke_user", 200),
        # Asked again there is nothing left to end. That is not "done", but it is true.
        ("/revoke/{id}", "delete from", 404),
    ],
)
async def test_lost_answer_of_an_ending_has_ended(
    relay: Relay, pg: asyncpg.Connection, target: str, statement: str, status: int
) -> None:
    """A logout or revocation whose answer is lost has ended the session, and is not reported as failed or half done."""
    async with visit(make_app(relay.dsn)) as site:
        token = await site.login()
        session_id = Keyring(SECRET).verify(token, "aiosess").session_id
        relay.lose_answer(statement)
        reply = await site.present(token, target.format(id=session_id), method="POST")
        assert relay.lost == 1
        assert reply.status == status
        assert (await site.present(token)).user is None
        assert await pg.fetchval("select count(*) from aiosess_sessions") == 0


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_a_patch_is_asked_again(relay: Relay, pg: asyncpg.Connection) -> None:
    """Setting a key twice because the answer was lost sets it once."""
    async with visit(make_app(relay.dsn)) as site:
        browser = await (await site.browser()).login("ada")
        relay.lose_answer("set data = s.data ||")
        assert (await browser.post("/set/theme", json="dark")).status == 200
        assert relay.lost == 1
        assert await pg.fetchval("select data from aiosess_sessions") == '{"theme": "dark"}'


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_a_theft_alarm_still_ends(relay: Relay, pg: asyncpg.Connection) -> None:
    """When the answer to ending a copied session is lost, both holders are out nevertheless."""
    async with visit(make_app(relay.dsn)) as site:
        token = await site.login()
        await pg.execute("update aiosess_sessions set token_id = 'AAAAAAAAAAA', version = 3, settled_at = now()")
        relay.lose_answer("delete from")
        assert (await site.present(token)).user is None
        assert relay.lost == 1
        assert await pg.fetchval("select count(*) from aiosess_sessions") == 0


@pytest.mark.threat("DB-06")
async def test_answers_that_are_always_lost_are_no_success(relay: Relay) -> None:
    """A login whose answer is lost twice is 503 and sets no cookie."""
    async with visit(make_app(relay.dsn)) as site:
        for _ in range(2):
            relay.lose_answer("aiosess_authenticate")
        reply = await site.present("none", "/login/ada", method="POST")
        assert relay.lost == 2
        assert (reply.status, reply.token) == (503, None)


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_an_increment_counts_once(relay: Relay, pg: asyncpg.Connection) -> None:
    """When the answer is lost it is unknown whether it has counted: the caller learns that, and nobody tries again."""
    async with visit(make_app(relay.dsn)) as site:
        browser = await (await site.browser()).login("ada")
        assert await browser.run(lambda s: s.increment("n")) == 1
        relay.lose_answer("jsonb_build_object")
        with pytest.raises(aiosess.StoreUnavailable):
            await browser.run(lambda s: s.increment("n"))
        assert relay.lost == 1
        assert json.loads(await pg.fetchval("select data::text from aiosess_sessions")) == {"n": 2}
