"""Two applications on one database, cookie jars, and what is known of a session: what the rotation model moves."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache, partial
from itertools import count
from time import monotonic
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import asyncpg
from aiohttp import web

from aiosess import NotAuthenticated, SessionManager, SessionNotFound, SessionRevoked, StoreUnavailable, events
from aiosess._token.keys import Keyring
from aiosess._token.token import Token
from tests.world.ageing import age
from tests.world.app import NEW_SECRET, SECRET, make_app
from tests.world.databases import cut_connections
from tests.world.jar import Jar, Kept, Key
from tests.world.site import Site, visit
from tests.world.waiting import Gate, eventually
from tests.world.wire import COOKIE, VERSION_COOKIE, Reply, Wire, request_bytes, set_cookies

KEYS = Keyring([NEW_SECRET, SECRET])
FRESH_WITHIN = timedelta(hours=1)
LONGEST = timedelta(days=390)  # idle and absolute limit: no session of an example ends by age alone

Job = Callable[[SessionManager, Any], Awaitable[Any]]


async def _look(_sessions: SessionManager, _query: Any) -> None:
    """Do nothing: the answer says who was there."""


ACTIONS: dict[str, Job] = {
    "look": _look,
    "set": lambda sessions, _: sessions.set("key", 1),
    "login": lambda sessions, query: sessions.authenticate(query["user"], remember="brief" not in query),
    "logout": lambda sessions, _: sessions.logout(),
    "logout_all": lambda sessions, _: sessions.logout_all(),
    "logout_other": lambda sessions, _: sessions.logout_other(),
    "revoke": lambda sessions, query: sessions.revoke(query["id"]),
    "rotate": lambda sessions, _: sessions.rotate(),
    "reauthenticated": lambda sessions, _: sessions.reauthenticated(),
}


@lru_cache(maxsize=4096)
def read(text: str) -> Token:
    """Return the token that a cookie's value spells."""
    return KEYS.verify(text, "aiosess")


@dataclass(frozen=True)
class Home:
    """The session that a browser was told it is signed in to: by which answer, and whether for longer than it runs."""

    session_id: UUID
    secret_hash: bytes
    number: int
    remember: bool


@dataclass
class Profile:
    """A browser's cookies and where it is signed in, and what of both is on disk, or ever was in its session store."""

    jar: Jar = field(default_factory=Jar)
    home: Home | None = None
    disk: tuple[dict[Key, Kept], Home | None] = field(default_factory=lambda: ({}, None))
    stores: list[tuple[dict[Key, Kept], Home | None]] = field(default_factory=list)
    changed_at: float = 0.0

    @property
    def value(self) -> str | None:
        """The session cookie's value."""
        return self._value(COOKIE)

    @property
    def version(self) -> str | None:
        """The version cookie's value."""
        return self._value(VERSION_COOKIE)

    def _value(self, name: str) -> str | None:
        kept = self.jar.kept.get((name, None, "/"))
        return None if kept is None else kept.value

    def take(self, reply: Reply, now: float) -> None:
        """Store or delete what an answer sets."""
        for line in set_cookies(reply):
            assert self.jar.take(line), f"P2: a browser ignores {line}"
            self.changed_at = now

    def save(self) -> None:
        """Write to disk what outlives the browser."""
        self.disk = self.jar.lasting(), self.home if self.home and self.home.remember else None

    def crash(self, now: float) -> None:
        """Go back to what is on disk."""
        (kept, self.home), self.changed_at = self.disk, now
        self.jar.kept = dict(kept)

    def store(self) -> None:
        """Write to the session store what ends with the browser."""
        brief = {key: kept for key, kept in self.jar.kept.items() if kept.ends_at is None}
        if brief:
            self.stores.append((brief, self.home))

    def bring_back(self, which: int, now: float) -> None:
        """Go back to what is on disk, with a session store of any age; what is on disk comes first."""
        self.crash(now)
        if self.stores and self.value is None:
            brief, self.home = self.stores[which % len(self.stores)]
            self.jar.kept |= brief


@dataclass
class Life:
    """
    What the model knows of a session, from what it asked for and was answered.

    Attributes:
        shared: The secrets of which somebody else has presented a token.
        retired: When a token was seen to be no longer the current one.
        presented: The successors that came since the login or the last restore.
        adopted: How many successors were told to have become current since then.
        caught: How many times reuse was told since then.
        is_doubtful: It began while somebody ended such sessions: the rows will say whether it lives.

    """

    id: UUID
    user: str
    secret_hash: bytes
    proved_at: float
    remember: bool
    ended: bool = False
    shared: set[bytes] = field(default_factory=set)
    retired: dict[str, float] = field(default_factory=dict)
    presented: set[str] = field(default_factory=set)
    adopted: int = 0
    caught: int = 0
    is_doubtful: bool = False

    def end(self) -> None:
        """Note that it has ended."""
        self.ended = True

    @property
    def is_shared(self) -> bool:
        """Whether somebody else has used the session since its secret was last changed."""
        return self.secret_hash in self.shared


@dataclass(frozen=True)
class Answer:
    """What came back: who the handler saw, whether it could do what it was asked for, and the cookie."""

    reply: Reply
    id: UUID | None
    fresh: bool
    done: bool


class Fleet:
    """Two installed applications that change their keys, on one database; and the clock they live by."""

    def __init__(self, dsn: str) -> None:
        """Start nothing yet."""
        self._dsn = dsn
        self._stacks: list[AsyncExitStack] = []
        self._secrets = [[SECRET, NEW_SECRET], [NEW_SECRET, SECRET]]
        self._gates: dict[str, Gate] = {}
        self._numbers = count()
        self._idle: dict[int, list[Wire]] = {}
        self._passed = 0.0
        self._cap: int | None = None
        self.sites: list[Site] = []
        self.happened: list[events.Event] = []

    async def start(self) -> None:
        """Start both."""
        self._pg = await asyncpg.connect(self._dsn)
        await self._pg.execute("create temp table backup (like aiosess_sessions)")
        for where, secret in enumerate(self._secrets):
            site, stack = await self._serve(secret)
            self._idle[where] = []
            self.sites.append(site)
            self._stacks.append(stack)

    async def _serve(self, secret: list[str]) -> tuple[Site, AsyncExitStack]:
        app = make_app(
            self._dsn,
            web.post("/act/{what}", self._act),
            secret=secret,
            on_event=self.happened.append,
            idle_timeout=LONGEST,
            browser_session_idle_timeout=LONGEST,
            absolute_timeout=LONGEST,
            max_sessions_per_user=self._cap,
        )
        stack = AsyncExitStack()
        return await stack.enter_async_context(visit(app)), stack

    async def deploy(self, where: int) -> None:
        """Replace an application by one that signs with the other key, and stop the old one as on SIGTERM."""
        self._secrets[where].reverse()
        old = self._stacks[where]
        self.sites[where], self._stacks[where] = await self._serve(self._secrets[where])
        self._idle[where] = []
        await old.aclose()

    def limit(self, cap: int | None) -> None:
        """Allow each user so many sessions."""
        self._cap = cap
        for site in self.sites:
            logins = site.installation.logins
            logins._config = replace(logins._config, max_sessions_per_user=cap)

    async def stop(self) -> None:
        """Stop both."""
        for stack in self._stacks:
            await stack.aclose()
        await self._pg.close()

    async def empty(self) -> None:
        """Begin again with empty tables."""
        await self._pg.execute("delete from aiosess_sessions; delete from aiosess_logins; delete from backup")
        self.lose_marks()
        self.happened.clear()
        self._passed = 0.0

    # Requests

    async def _act(self, request: web.Request) -> web.Response:
        """Say who is asking, then do what is asked for, once the gate is open if there is one."""
        sessions: SessionManager = request["sessions"]
        try:
            seen = sessions.current
        except StoreUnavailable as error:
            return web.Response(status=503, text=str(error))  # the model says why it stops
        fresh, done = sessions.is_fresh(FRESH_WITHIN), True
        gate = self._gates.get(request.query.get("gate", ""))
        if gate is not None:
            await gate.wait()
        try:
            await ACTIONS[request.match_info["what"]](sessions, request.query)
        except (NotAuthenticated, SessionNotFound, SessionRevoked):
            done = False
        return web.json_response({"id": seen and str(seen.id), "fresh": fresh, "done": done})

    async def ask(self, where: int, agent: str, cookies: str, what: str, **query: str) -> Answer:
        """Send a request to one of the applications, on a connection that is kept alive."""
        wire = await self._send(where, agent, cookies, what, query)
        answer = _answer(await wire.read())
        self._idle[where].append(wire)
        return answer

    async def open(
        self, where: int, agent: str, cookies: str, what: str, **query: str
    ) -> Callable[[], Awaitable[Answer]]:
        """Send a request whose handler waits after the check; what is returned lets it go on and gets its answer."""
        number, gate = str(next(self._numbers)), Gate()
        self._gates[number] = gate
        wire = await self._send(where, agent, cookies, what, query | {"gate": number})
        async with asyncio.timeout(60):
            await gate.entered.wait()

        async def finish() -> Answer:
            gate.opened.set()
            answer = _answer(await wire.read())
            self._idle[where].append(wire)
            del self._gates[number]
            return answer

        return finish

    async def _send(self, where: int, agent: str, cookies: str, what: str, query: dict[str, str]) -> Wire:
        idle = self._idle[where]
        wire = idle.pop() if idle else await self.sites[where].wire()
        headers = [f"User-Agent: {agent}".encode()]
        if cookies:
            headers.append(f"Cookie: {cookies}".encode())
        await wire.send(request_bytes(f"/act/{what}?{urlencode(query)}", *headers, method="POST"))
        return wire

    # Time and the database

    @property
    def now(self) -> float:
        """The time of the example, in seconds: what was let pass, and what went by."""
        return self._passed + monotonic()

    async def let_pass(self, seconds: float) -> None:
        """Let time pass; each application has written its marks by then."""
        await self.write_marks()
        await age(self._pg, seconds)
        live = await self.rows()
        for site in self.sites:
            checker = site.installation.checker
            for session_id in live:
                held = checker._held.get(session_id.int)
                if held is not None and held.row is not None:  # an end that is remembered stays so
                    checker.forget(session_id)  # a held row cannot be moved in time
        self._passed += seconds

    async def write_marks(self) -> None:
        """Write what the applications have noted of sessions, as they do every second."""
        for site in self.sites:
            await site.installation.upkeep.flush()

    def lose_marks(self) -> None:
        """Forget what the applications have noted, as when they are killed."""
        for site in self.sites:
            site.installation.upkeep._marks.clear()

    async def rows(self) -> dict[UUID, Any]:
        """Return the live rows."""
        query = """
            select
                id, version, token_id, settled_at, array(select r->>0 from jsonb_array_elements(retired) r) as retired
            from aiosess_sessions where expires_at > now()
        """
        return {record["id"]: record for record in await self._pg.fetch(query)}

    async def expire(self, session_id: UUID) -> None:
        """Let a session's time run out."""
        query = "update aiosess_sessions set expires_at = now() - interval '1 second' where id = $1"
        await self._pg.execute(query, session_id)

    async def back_up(self) -> None:
        """Keep the rows as they are."""
        await self._pg.execute("delete from backup; insert into backup select * from aiosess_sessions")

    async def restore(self, seconds: float) -> None:
        """Put the rows back that were kept so many seconds ago, and cut every connection, as a restored server does."""
        async with self._pg.transaction():
            # The copy has no trigger: the revisions come back as they were, and may be those that are held.
            await age(self._pg, seconds, table="backup")
            await self._pg.execute("delete from aiosess_sessions; insert into aiosess_sessions select * from backup")
        cut = await cut_connections(self._pg)
        await eventually(partial(self._have_noticed, cut))

    async def _have_noticed(self, cut: set[int]) -> bool:
        """Whether both applications have noticed that these connections are gone; they may have made new ones."""
        pools: list[Any] = [site.installation.database.connections.pool for site in self.sites]
        connections = [holder._con for pool in pools for holder in pool._holders if holder.is_connected()]
        return all(connection.get_server_pid() not in cut for connection in connections)


def _answer(reply: Reply) -> Answer:
    assert reply.status == 200, (reply.status, reply.body)
    said = json.loads(reply.body)
    return Answer(reply, said["id"] and UUID(said["id"]), said["fresh"], said["done"])
