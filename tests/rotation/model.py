"""
The rotation protocol as a state machine: browsers, thieves, faults and time in any order, on two applications.

Hypothesis looks for a history that breaks what DESIGN.md, 5 promises:

P1  revoked, expired, evicted and rotated away is never accepted, and never comes back;
P2  an honest client is never logged out by rotation, and no cookie is deleted in passing;
P3  a theft in which both go on is detected: both are out, and it is told once;
P4  versions never go back without an event, requests at once get one successor, and each is adopted once;
P5  a late token is never fresh and gets no successor; a current one is fresh once the user has proved who they are.

P2 is promised for one kind of fault at a time, so each example has a kind (rotation_sim.py has the same ones); with
"all" of them at once P2 is not asked for. What the kinds may do is what the protocol's spans are made for: a response
or request is late by less than half the lease, a buffered upload by less than late_window, a crash takes back less than
rotation_overlap. A session store brings back a cookie of any age that ends with the browser. Every thief is another
client than the owner; some throw away what they get, and are another client with each request (another User-Agent).
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from itertools import count
from time import monotonic
from typing import Any
from uuid import UUID

from hypothesis import stateful
from hypothesis import strategies as st

from aiosess import SessionNotFound, events
from aiosess._token.token import Token
from tests.rotation.fleet import FRESH_WITHIN, Answer, Fleet, Home, Life, Profile, read
from tests.world.browser import firefox
from tests.world.wire import COOKIE, VERSION_COOKIE

LATE = 600.0  # seconds: the default of late_window
SLOW, UPLOAD, FLUSH = 250.0, 500.0, 55.0  # seconds: slowest message, longest upload, cookies reach the disk
SLACK = 5.0  # seconds that an example may take of its own
HOUR = FRESH_WITHIN.total_seconds()
SPANS = (5, 19, 61, 130, 610, 1000, 1000, 86_400)

KINDS = ("loss", "slow", "upload", "crash", "store", "restore", "all")
ENDS = {"logout", "logout_all", "logout_other", "revoke"}
RENEWS = {"login", "rotate", "reauthenticated"}
CHANGES = ENDS | RENEWS
USERS = ("ada", "ada", "bob")

place = st.integers(0, 1)
number = st.integers(0, 11)
fault = st.sampled_from(["none", "none", "response", "request"])
upset = st.just(0) | st.integers(1, 127)  # which of six responses have a fault, bit by bit; and whether backwards
caps = st.sampled_from([None, None, None, None, 1, 2])
end_ways = st.sampled_from(["revoke", "revoke", "revoke_user", "revoke_all", "expire", "expire"])
act = st.sampled_from(
    ["set", "set", "rotate", "reauthenticated", "login", "login", "logout", "logout_all", "logout_other", "revoke"]
)


@dataclass(eq=False)
class Client:
    """A browser, or a thief with a copy of its jar."""

    profile: Profile = field(default_factory=Profile)
    robbed: "Client | None" = None
    keeps: bool = True  # the cookies that it is given
    is_out: bool = False  # it was told that nobody is signed in
    _versions: Iterator[int] = field(default_factory=lambda: count(200))

    def next_agent(self) -> str:
        """Return the User-Agent of its next request; a thief that keeps nothing takes another each time."""
        if self.robbed is None:
            return firefox(127)
        return firefox(128 if self.keeps else next(self._versions))


@dataclass(eq=False)
class Asked:
    """
    A request: who sent it with which token, and what the model knew when it reached an application.

    Attributes:
        text: The session cookie's value.
        version: The version cookie's value.
        token: The token that both mean.
        home: Where its browser was signed in when it was sent.
        raced: Somebody ended all sessions of its user meanwhile.
        number: How many groups of requests were answered before.
        came_alive: The session of its token was live, whatever its secret.

    """

    client: Client
    where: int
    text: str | None
    version: str | None
    token: Token | None
    what: str
    query: dict[str, str]
    home: Home | None
    fault: str = "none"
    number: int = 0
    must_refuse: bool = False
    must_accept: bool = False
    must_be_fresh: bool = False
    is_late: bool = False
    revoked_before: int = 0
    came_at: float = 0.0
    raced: bool = False
    proved_ago: float = 0.0
    user: str = ""
    came_alive: bool = False

    @property
    def cookies(self) -> str:
        """The Cookie header's value, or nothing."""
        pairs = ((COOKIE, self.text), (VERSION_COOKIE, self.version))
        return "; ".join(f"{name}={value}" for name, value in pairs if value is not None)


@dataclass(eq=False)
class Pending:
    """What is under way and has to arrive by some time: a request, a response, or the end of a handler."""

    client: Client
    until: float
    arrive: Callable[[], None]


@dataclass(frozen=True)
class Ending:
    """What an administrator does, or time: how, what is to be noted of it, and whose logins under way may be hit."""

    act: Callable[[], Awaitable[Any]]
    note: Callable[[], None]
    users: Sequence[str] = ()


Step = Callable[..., None]
History = list[tuple[str, dict[str, Any]]]  # steps by name, with their arguments, which JSON can spell


@dataclass(frozen=True)
class Found:
    """Which promise was broken, and by which history."""

    broken: str
    history: History


def noted(act: Step) -> Step:
    """Note a step in the machine's history, unless it is part of another one."""

    @wraps(act)
    def step(machine: "Rotation", *positional: Any, **arguments: Any) -> None:
        if machine.is_stepping:
            act(machine, *positional, **arguments)
            return
        machine.history.append((act.__name__, arguments))
        machine.is_stepping = True
        try:
            act(machine, **arguments)
        finally:
            machine.is_stepping = False

    return step


def initialize(**arguments: Any) -> Callable[[Step], Step]:
    """Make a method the first step."""
    decorate: Callable[[Step], Step] = stateful.initialize(**arguments)
    return lambda act: decorate(noted(act))


def rule(**arguments: Any) -> Callable[[Step], Step]:
    """Make a method a step."""
    decorate: Callable[[Step], Step] = stateful.rule(**arguments)
    return lambda act: decorate(noted(act))


class Rotation(stateful.RuleBasedStateMachine):
    """The machine; `lives` is what is known of each session."""

    def __init__(self, fleet: Fleet, runner: asyncio.Runner, kind: str | None, found: list[Found]) -> None:
        """Begin with empty tables; every example has this kind of fault if one is given, and notes what it finds."""
        super().__init__()
        self.found = found
        self.history: History = []
        self.is_stepping = False
        self._kind = kind
        self.fleet, self._run = fleet, runner.run
        self._run(fleet.empty())
        self.kind = "all"
        self.clients: list[Client] = []
        self.lives: dict[UUID, Life] = {}
        self.sent: set[str] = set()
        self.named: dict[str, Token] = {}  # the token that came with a version cookie
        self.pending: list[Pending] = []
        self.rows: dict[UUID, Any] = {}
        self.backup: tuple[float, dict[UUID, Life]] | None = None
        self.is_restored = False
        self.told = 0
        self.revocations: dict[str, list[float]] = {user: [] for user in USERS}
        self.asked_at = 0.0
        self.open: list[Callable[[], Awaitable[Answer]]] = []
        self.numbers = count(1)
        self.cap: int | None = None

    # What happens

    @initialize(kind=st.sampled_from(KINDS), where=place, which=number, cap=caps)
    def begin(self, kind: str, where: int, which: int, cap: int | None) -> None:
        """Sign two browsers in, one of them perhaps for as long as it runs; a third one is anonymous."""
        self.kind, self.cap = self._kind or kind, cap
        self.fleet.limit(cap)
        self.clients = [Client(), Client(), Client()]
        for client, each in zip(self.clients, (0, which), strict=False):
            self.exchange([self.request(client, where, "login", **self.query("login", each))])

    @rule(who=number, where=place, how=fault)
    def look(self, who: int, where: int, how: str) -> None:
        """Let a client ask for a page, or sign in when the last one told it to."""
        self.send(self.visit(self.client(who), where), how)

    @rule(who=number, where=place, what=act, which=number, how=fault)
    def change(self, who: int, where: int, what: str, which: int, how: str) -> None:
        """Let a client do something with its session, or sign in."""
        self.send(self.request(self.client(who), where, what, **self.query(what, which)), how)

    @rule(
        asked=st.lists(st.tuples(number, place), min_size=2, max_size=6),
        what=st.none() | act,
        which=number,
        way=st.none() | end_ways,
        order=upset,
    )
    def look_at_once(
        self, asked: list[tuple[int, int]], what: str | None, which: int, way: str | None, order: int
    ) -> None:
        """Send requests of one client or of several at once; one may change something, or an administrator."""
        group = [self.request(self.client(who), where, "look") for who, where in asked]
        if what is not None:
            group[0] = replace(group[0], what=what, query=self.query(what, which))
        self.exchange(group, order, None if way is None else self.ending(way, which, which % 2))

    @rule(who=number, times=st.integers(2, 6), rotates=st.booleans(), order=upset)
    def burst(self, who: int, times: int, order: int, *, rotates: bool) -> None:
        """Let a client ask for a page and all that is on it, perhaps just when a successor is due."""
        if rotates:
            self.rotate_in_time(who, 0)
            self.wait(1000)
            self.exchange([self.request(self.client(who), each % 2, "look") for each in range(times)], order)
        self.exchange([self.request(self.client(who), each % 2, "look") for each in range(times)])

    @rule(who=number, where=place, what=st.just("look") | act, which=number, ends=st.booleans())
    def look_slowly(self, who: int, where: int, what: str, which: int, *, ends: bool) -> None:
        """Let a handler take its time; other things happen before it goes on, perhaps a revocation at once."""
        if self.allows("upload"):
            self.open_slowly(self.request(self.client(who), where, what, **self.query(what, which)))
            if ends:
                self.wait(5)
                self.end("revoke_user", which, where)

    def open_slowly(self, asked: Asked) -> None:
        """Let a request come as far as its handler."""
        self.foresee([asked])
        finish = self._run(
            self.fleet.open(asked.where, asked.client.next_agent(), asked.cookies, asked.what, **asked.query)
        )
        asked.came_at = monotonic()
        self.open.append(finish)
        self.observe()
        self.pending.append(Pending(asked.client, self.fleet.now + UPLOAD, partial(self.finish, asked, finish)))

    @rule(who=number, where=place, what=st.sampled_from(sorted(RENEWS)))
    def renew_meanwhile(self, who: int, where: int, what: str) -> None:
        """Let a client get a new cookie while a handler takes its time whose response may bring a successor."""
        if not self.allows("upload"):
            return
        self.rotate_in_time(who, where)
        self.wait(1000)
        self.open_slowly(self.request(self.client(who), where, "look"))
        slow = self.pending[-1]
        self.exchange([self.request(self.client(who), where, what, **self.query(what, who))])
        self.pending.remove(slow)
        slow.arrive()
        self.exchange([self.request(self.client(who), where, "look")])

    @rule(which=number)
    def arrive(self, which: int) -> None:
        """Let something that is under way arrive, in whatever order."""
        if self.pending:
            self.pending.pop(which % len(self.pending)).arrive()

    @rule(seconds=st.sampled_from(SPANS))
    def wait(self, seconds: int) -> None:
        """Let time pass; what is due by then has arrived, and jars are on disk."""
        until = self.fleet.now + seconds + SLACK
        while due := [each for each in self.pending if each.until < until]:
            self.pending.remove(due[0])
            due[0].arrive()
        for client in self.clients:
            if client.profile.changed_at + FLUSH < until:
                client.profile.save()
            client.profile.jar.let_pass(seconds)
        self._run(self.fleet.let_pass(seconds))
        self.observe()

    @rule(who=number, where=place)
    def rotate_in_time(self, who: int, where: int) -> None:
        """Let a client go on long enough to get a successor, and use it."""
        for seconds in (61, 1000, 61):
            self.wait(seconds)
            self.exchange([self.visit(self.client(who), where)])

    @rule(who=number, where=place)
    def prove(self, who: int, where: int) -> None:
        """Let a client come back when it is no longer fresh, prove who it is, and go on."""
        self.wait(4000)
        for what in ("reauthenticated", "look"):
            self.exchange([self.request(self.client(who), where, what)])

    @rule(who=number, where=place)
    def overtake(self, who: int, where: int) -> None:
        """Hold a request up while its client gets a successor and uses it."""
        self.rotate_in_time(who, where)
        self.wait(1000)
        self.send(self.visit(self.client(who), where), "request")
        for _ in range(2):
            self.exchange([self.visit(self.client(who), where)])

    @rule(who=number, where=place)
    def upload_twice(self, who: int, where: int) -> None:
        """Hold up one request with a token that is due, and one with its successor before that was used."""
        if not self.allows("upload"):
            return
        self.rotate_in_time(who, where)
        self.wait(1000)
        self.send(self.visit(self.client(who), where), "request")
        first = self.pending[-1]
        self.exchange([self.visit(self.client(who), where)])
        self.send(self.visit(self.client(who), where), "request")
        self.wait(61)
        self.pending.remove(first)
        first.arrive()
        for _ in range(2):
            self.exchange([self.visit(self.client(who), where)])
            self.wait(61)

    @rule(who=number, keeps=st.booleans())
    def steal(self, who: int, *, keeps: bool) -> None:
        """Let a thief copy a browser's jar."""
        client = self.client(who)
        if len(self.clients) < 5 and client.robbed is None and client.profile.value is not None:
            self.clients.append(Client(deepcopy(client.profile), robbed=client, keeps=keeps))

    @rule(who=number, where=place, rotates=st.booleans(), returns=st.booleans())
    def crash(self, who: int, where: int, *, rotates: bool, returns: bool) -> None:
        """Let a browser crash, perhaps just after it used a new token, and go on with what was on disk."""
        client = self.client(who)
        if not self.allows("crash") or client.robbed is not None:
            return
        if rotates:
            self.rotate_in_time(who, where)
            self.wait(1000)
            client.profile.save()
            for _ in range(2):
                self.exchange([self.visit(client, where)])
        self.start_anew(client)
        if returns:
            self.wait(610)
            for _ in range(2):
                self.exchange([self.visit(client, where)])

    @rule(who=number, where=place, which=number, times=st.integers(0, 3))
    def bring_back(self, who: int, where: int, which: int, times: int) -> None:
        """Let a browser be killed, perhaps after some rotations, and come back with a session store of any age."""
        client = self.client(who)
        if not self.allows("store") or client.robbed is not None:
            return
        if times and (client.profile.home is None or client.profile.home.remember):
            self.exchange([self.request(client, where, "login", user=USERS[who % len(USERS)], brief="")])
        for _ in range(times):
            self.rotate_in_time(who, where)
        client.profile.save()  # what outlives the browser is on its disk within a second
        client.profile.bring_back(which, self.fleet.now)
        for _ in range(2):
            self.exchange([self.request(client, where, "look")])

    @rule(who=number, which=number, keeps=st.booleans())
    def steal_from_store(self, who: int, which: int, *, keeps: bool) -> None:
        """Let a thief copy a session cookie of any age, without the version cookie."""
        client = self.client(who)
        if len(self.clients) < 5 and client.robbed is None and client.profile.stores:
            profile = Profile()
            profile.jar.kept |= client.profile.stores[which % len(client.profile.stores)][0]
            self.clients.append(Client(profile, robbed=client, keeps=keeps))

    @rule(who=number, quits=st.booleans())
    def save(self, who: int, *, quits: bool) -> None:
        """Let a browser's cookies reach the disk, perhaps because it is closed and opened again."""
        client = self.client(who)
        client.profile.save()
        if quits and not any(each.client is client for each in self.pending):
            self.start_anew(client)

    def start_anew(self, client: Client) -> None:
        """Let a browser begin with what is on disk."""
        client.profile.crash(self.fleet.now)
        life = self.living(read(client.profile.value)) if client.profile.value else None
        assert life is None or life.remember, "P1: a cookie that ends with the browser was on disk"

    @rule(way=end_ways, which=number, where=place)
    def end(self, way: str, which: int, where: int) -> None:
        """End a session without a request: by an administrator, or by time."""
        ending = self.ending(way, which, where)
        if ending is not None:
            self.asked_at = monotonic()
            self._run(ending.act())
            ending.note()
            self.observe()

    def ending(self, way: str, which: int, where: int) -> Ending | None:
        """Return a way to end one session, those of a user, or all; None: there is none."""
        life, store = self.life(which), self.fleet.sites[where].store
        if life is None or (way == "revoke" and life.ended):
            return None
        if way == "revoke_user":
            return Ending(partial(store.revoke_user, life.user), partial(self.revoke_user, life.user), [life.user])
        if way == "revoke_all":
            return Ending(store.revoke_all, self.revoke_all, USERS)
        return Ending(partial(self.fleet.expire if way == "expire" else store.revoke, life.id), life.end)

    @rule(where=place)
    def sweep(self, where: int) -> None:
        """Delete expired rows."""
        self._run(self.fleet.sites[where].store.sweep())

    @rule()
    def write_marks(self) -> None:
        """Let the applications write what they noted."""
        self._run(self.fleet.write_marks())
        self.observe()

    @rule()
    def lose_marks(self) -> None:
        """Let the applications be killed before they write what they noted."""
        self.fleet.lose_marks()

    @rule(where=place)
    def deploy(self, where: int) -> None:
        """Let an application be replaced by one that signs with the other key, and has seen nothing yet."""
        if not self.open:  # it would wait for its handlers
            self._run(self.fleet.deploy(where))
            self.observe()

    @rule()
    def back_up(self) -> None:
        """Copy the database."""
        if self.allows("restore"):
            self._run(self.fleet.back_up())
            self.backup = self.fleet.now, deepcopy(self.lives)

    @rule(who=number, where=place, times=st.integers(0, 2), ends=st.booleans(), anew=st.booleans())
    def restore(self, who: int, where: int, times: int, *, ends: bool, anew: bool) -> None:
        """Let the database go back to the copy, over some rotations: what was ended since then lives again."""
        if anew:
            self.back_up()
        if self.backup is None:
            return
        for _ in range(times):
            self.rotate_in_time(who, where)
        if ends:
            self.end("revoke", who, where)
        then, lives = self.backup
        now = self.fleet.now
        self._run(self.fleet.restore(now - then))
        self.backup = now, deepcopy(lives)
        shared = {session_id: life.shared for session_id, life in self.lives.items()}
        for life in lives.values():
            life.shared |= shared[life.id]
            life.presented, life.adopted, life.caught = set(), 0, 0
        self.lives, self.rows, self.is_restored = lives, {}, True
        self.observe()

    # Requests and their answers

    def client(self, who: int) -> Client:
        """Pick a client."""
        return self.clients[who % len(self.clients)]

    def life(self, which: int) -> Life | None:
        """Pick a session, one that lives if there is one."""
        lives = [life for life in self.lives.values() if not life.ended] or list(self.lives.values())
        return lives[which % len(lives)] if lives else None

    def allows(self, kind: str) -> bool:
        """Whether this example has faults of this kind."""
        return self.kind in {kind, "all"}

    def query(self, what: str, which: int) -> dict[str, str]:
        """Return what an action needs to know."""
        if what == "login":
            return {"user": USERS[which % len(USERS)]} | ({"brief": ""} if which % 4 == 3 else {})
        life = self.life(which)
        return {"id": str(life.id) if life else ""} if what == "revoke" else {}

    def request(self, client: Client, where: int, what: str, **query: str) -> Asked:
        """Make a request with what is in the client's jar."""
        profile = client.profile
        home = profile.home if client.robbed is None else None
        token = self.meant(profile.value, profile.version)
        return Asked(client, where, profile.value, profile.version, token, what, query, home)

    def meant(self, text: str | None, version: str | None) -> Token | None:
        """Return the token that two cookies mean together."""
        token, named = None if text is None else read(text), self.named.get(version or "")
        if token is None or named is None or named.version < token.version:
            return token
        if (named.session_id, named.secret_hash) != (token.session_id, token.secret_hash):
            return token
        return replace(token, version=named.version, id=named.id, parent_id=named.parent_id)

    def visit(self, client: Client, where: int) -> Asked:
        """Make the request of somebody who wants to be signed in."""
        if client.is_out:
            return self.request(client, where, "login", user=USERS[self.clients.index(client) % len(USERS)])
        return self.request(client, where, "look")

    def send(self, asked: Asked, how: str) -> None:
        """Send a request, which may be held up on its way, or its response may be held up or lost."""
        held_up = UPLOAD if self.allows("upload") else 0.0
        if self.allows("slow"):
            held_up = SLOW
        if how == "request" and held_up:
            arrive = partial(self.exchange, [asked])
            self.pending.append(Pending(asked.client, self.fleet.now + held_up, arrive))
        else:
            self.exchange([replace(asked, fault=how)])

    def exchange(self, group: Sequence[Asked], order: int = 0, ending: Ending | None = None) -> None:
        """Let requests reach the applications at once, and check and deliver the answers."""
        self.foresee(group)
        rows, went_back = self.rows, self.count(events.WentBack)
        answers = self._run(self.ask(group, ending))
        if ending is not None:
            ending.note()
            self.expect(group)
        for asked, answer in zip(group, answers, strict=True):
            self.check(asked, answer)
        self.check_minted_once(group, answers)
        self.observe()
        if len(group) == 1 and answers[0].id is not None and group[0].what not in CHANGES:
            self.check_place(group[0].token, answers[0].id, rows, went_back)
        self.deliver_in_order(group, answers, order)

    async def ask(self, group: Sequence[Asked], ending: Ending | None) -> list[Answer]:
        """Send requests at once, and end sessions while they are under way."""
        number, self.asked_at = next(self.numbers), monotonic()
        for each in group:
            each.number, each.came_at = number, self.asked_at
            each.raced = ending is not None and each.query.get("user") in ending.users
        asks = [
            self.fleet.ask(each.where, each.client.next_agent(), each.cookies, each.what, **each.query)
            for each in group
        ]
        if ending is None:
            return await asyncio.gather(*asks)
        _, answers = await asyncio.gather(self.end_amid(ending, number % 4), asyncio.gather(*asks))
        return answers

    async def end_amid(self, ending: Ending, milliseconds: int) -> None:
        """End sessions about when requests are checked; one of them may have ended the session first."""
        await asyncio.sleep(milliseconds / 1000)
        with suppress(SessionNotFound):
            await ending.act()

    def finish(self, asked: Asked, finish: Callable[[], Awaitable[Answer]]) -> None:
        """Let a slow handler go on."""
        life = self.lives.get(asked.token.session_id) if asked.token else None
        is_dead = asked.token is not None and self.living(asked.token) is None
        self.open.remove(finish)
        self.asked_at = monotonic()
        answer, asked.number = self._run(finish()), next(self.numbers)
        if asked.what in {"rotate", "reauthenticated"} or (asked.what == "set" and (life is None or life.ended)):
            assert not (answer.done and is_dead), "P1: a slow request changed a session that had ended"
        self.check(asked, answer)
        self.observe()
        self.deliver(asked, answer)

    def living(self, knows: Token | Home | None) -> Life | None:
        """Return the session that a token or a browser knows, if it lives and has the secret that they know."""
        life = None if knows is None else self.lives.get(knows.session_id)
        return None if knows is None or life is None or life.ended or life.secret_hash != knows.secret_hash else life

    def foresee(self, group: Sequence[Asked]) -> None:
        """Note of requests that are about to arrive what the model says of their tokens."""
        for each in group:
            token, life = each.token, self.living(each.token)
            known = None if token is None else self.lives.get(token.session_id)
            each.came_alive = known is not None and not known.ended
            each.revoked_before = len(self.revocations.get(each.query.get("user", ""), []))
            each.must_refuse = life is None
            if life is not None and token is not None:
                if each.client.robbed is not None:
                    life.shared.add(token.secret_hash)
                if token.parent_id is not None:
                    life.presented.add(token.id)
                each.proved_ago = self.fleet.now - life.proved_at
                each.user = life.user
                retired_at = life.retired.get(token.id)
                each.is_late = retired_at is not None and self.fleet.now - retired_at < LATE - SLACK
                each.must_be_fresh = each.proved_ago < HOUR - SLACK and self.stays_current(token, group)
        self.expect(group)
        self.sent.update(each.text for each in group if each.text is not None)

    def expect(self, group: Sequence[Asked]) -> None:
        """Note of requests whether they have to be let in, which those that change something at once leave open."""
        disturbed = any(each.what in CHANGES for each in group) and len(group) > 1
        for each in group:
            lives = [self.living(each.token), self.living(each.home)]
            honest = any(life is not None and not life.is_shared for life in lives)
            each.must_accept = honest and not disturbed and self.kind != "all"

    def stays_current(self, token: Token, group: Sequence[Asked]) -> bool:
        """Whether the row has this token, and nothing in the group puts another in its place."""
        others = {each.token.id for each in group if each.token and each.token.session_id == token.session_id}
        return others == {token.id} and self.rows[token.session_id]["token_id"] == token.id

    def check(self, asked: Asked, answer: Answer) -> None:
        """Compare an answer with what was foreseen, and take over what it did."""
        if asked.must_refuse:
            assert answer.id is None, "P1: an ended session or a dead secret was accepted"
        if asked.must_accept:
            assert answer.id is not None, "P2: an honest client was logged out"
        cookie = answer.reply.token
        if cookie == "":
            assert asked.what in ENDS, "P2: the cookie was deleted in passing"
        elif cookie is not None:
            assert cookie not in self.sent, "P2: a token that was presented was sent again"
        version = answer.reply.version
        if version == "":
            assert asked.what in ENDS | {"login"}, "P2: the version cookie was deleted in passing"
        elif version is not None:
            assert cookie, "P2: a version cookie without its token"
            self.named[version] = read(cookie)
        if asked.is_late and answer.id is not None:
            assert not answer.fresh, "P5: a late token was fresh"
            assert cookie is None or asked.what in CHANGES, "P5: a late token got a successor"
        life = self.lives.get(answer.id) if answer.id else None
        if answer.fresh and asked.what not in CHANGES:
            assert asked.proved_ago < HOUR + SLACK, "P5: fresh without proof"
        if asked.must_be_fresh and answer.id is not None:
            assert answer.fresh, "P5: a proof does not count"
        self.learn(asked, answer, life)

    def learn(self, asked: Asked, answer: Answer, life: Life | None) -> None:
        """Take over what a request did."""
        cookie = answer.reply.token
        what = asked.what if answer.done else "look"
        if what == "login":
            user = asked.query["user"]
            # What the statement takes to PostgreSQL is what a revocation may be overlooked by: see authenticate().
            took = monotonic() - self.asked_at
            missed = [at for at in self.revocations[user][asked.revoked_before :] if at - asked.came_at > took]
            assert not missed, "P1: a login outlived a revocation of its user"
            assert cookie
            token = read(cookie)
            self.end_presented(asked, user)
            if life is not None:
                life.ended = True
            new = Life(token.session_id, user, token.secret_hash, self.fleet.now, "brief" not in asked.query)
            new.is_doubtful = asked.raced
            self.lives[new.id] = new
        elif what == "revoke":
            self.lives[UUID(asked.query["id"])].ended = True
        elif what in {"logout_all", "logout_other"}:
            if answer.id is not None:  # whose session a restore may have taken back since
                self.revoke_user(asked.user, None if what == "logout_all" else life)
        elif life is None:
            return
        elif what == "logout":
            life.ended = True
        elif what in {"rotate", "reauthenticated"}:
            assert cookie
            secret_hash = read(cookie).secret_hash
            assert secret_hash != life.secret_hash, "P1: a secret that was rotated away is still good"
            life.secret_hash = secret_hash
            if what == "reauthenticated":
                life.proved_at = self.fleet.now

    def revoke_user(self, user: str, kept: Life | None = None) -> None:
        """Note that all sessions of a user have ended, but one."""
        self.revocations[user].append(self.asked_at)
        for life in self.lives.values():
            if life.user == user and life is not kept:
                life.ended = True

    def revoke_all(self) -> None:
        """Note that all sessions have ended."""
        for user in self.revocations:
            self.revoke_user(user)

    def check_minted_once(self, group: Sequence[Asked], answers: Sequence[Answer]) -> None:
        """See that parallel requests with one token got one successor among them, those of a thief left out."""
        if any(each.what in CHANGES for each in group):
            return
        minted = [read(answer.reply.token).session_id for answer in answers if answer.reply.token]
        texts = {(each.text, each.version, each.client.robbed is None): each.token for each in group}
        presented = [token.session_id for token in texts.values() if token is not None]
        for session_id in minted:
            # Several tokens of one session may change its row, and with it the lease, on the way.
            assert minted.count(session_id) == 1 or presented.count(session_id) > 1, "P4: two successors at once"

    def check_place(self, token: Token | None, session_id: UUID, rows: dict[UUID, Any], went_back: int) -> None:
        """Compare what was accepted with the row as it was before."""
        before, after = rows.get(session_id), self.rows.get(session_id)
        assert token is not None
        assert after is not None, "P1: a session without a row was accepted"
        assert after["version"] >= token.version, "P4: the row stayed behind an accepted token"
        if before is None:
            return
        if token.version > before["version"] + 1:
            assert self.count(events.WentBack) > went_back, "P4: the row went back, and nobody was told"
        is_past = token.version <= before["version"] and token.id != before["token_id"]
        if is_past and before["settled_at"] is not None:
            since = self.lives[session_id].retired.get(token.id)
            assert since is not None, "P3: a copy was accepted"
            assert self.fleet.now - since < LATE + SLACK, "P3: an old token was accepted for too long"

    def deliver_in_order(self, group: Sequence[Asked], answers: Sequence[Answer], order: int) -> None:
        """Let the answers to requests at once reach their clients; see upset."""
        for bit, asked in enumerate(group):
            if order >> bit & 1:
                asked.fault = "response"
        arriving = list(zip(group, answers, strict=True))
        for asked, answer in reversed(arriving) if order >> 6 else arriving:
            self.deliver(asked, answer)

    def deliver(self, asked: Asked, answer: Answer) -> None:
        """Let the answer reach the client, if it does, now or later."""
        asked.client.is_out = asked.client.robbed is None and asked.what == "look" and answer.id is None
        if asked.fault == "response" and self.allows("slow"):
            arrive = partial(self.receive, asked, answer)
            self.pending.append(Pending(asked.client, self.fleet.now + SLOW, arrive))
        elif asked.fault != "response" or not self.allows("loss"):
            self.receive(asked, answer)

    def receive(self, asked: Asked, answer: Answer) -> None:
        """Put what an answer brings into a jar."""
        profile = asked.client.profile
        if asked.client.keeps:
            profile.take(answer.reply, self.fleet.now)
            if answer.reply.token is not None:
                profile.home = self.home(asked, answer, profile.home)
                profile.store()

    def home(self, asked: Asked, answer: Answer, home: Home | None) -> Home | None:
        """Say where a browser is signed in that gets a cookie: a new home, where it was, or nowhere."""
        token = read(answer.reply.token) if answer.reply.token else None
        life = None if token is None else self.lives.get(token.session_id)
        last = 0 if home is None else home.number
        if token is not None and asked.what in RENEWS and answer.done:
            number = max(asked.number, last)
            return None if life is None else Home(life.id, token.secret_hash, number, life.remember)
        # No server can mend that order: what was made before the cookie of the sign-in or rotate() took its place.
        return home if token is not None and asked.number > last else None

    # What holds after every step

    def count(self, kind: type[events.Event]) -> int:
        """Count events."""
        return sum(isinstance(event, kind) for event in self.fleet.happened)

    def observe(self) -> None:
        """Read the rows and the events, and compare them with what was there before."""
        before, self.rows = self.rows, self._run(self.fleet.rows())
        for event in self.fleet.happened[self.told :]:
            self.hear(event)
        self.told = len(self.fleet.happened)
        crowds = Counter(self.lives[session_id].user for session_id in self.rows)
        assert self.cap is None or max(crowds.values(), default=0) <= self.cap, "P1: a session over the cap goes on"
        for session_id, row in self.rows.items():
            life = self.lives[session_id]
            assert not life.ended, "P1: a session that ended has a live row"
            known = before.get(session_id)
            if known is None:
                continue
            assert row["version"] >= known["version"], "P4: the version went back"
            # What was current for a moment, among requests at once, is only known from the row.
            for token_id in {known["token_id"], *row["retired"]} - {row["token_id"]}:
                life.retired.setdefault(token_id, self.fleet.now)
        for life in self.lives.values():
            life.ended |= life.is_doubtful and life.id not in self.rows
            life.is_doubtful = False
            assert life.ended or life.id in self.rows, "P2: a session ended by itself"

    def end_presented(self, asked: Asked, user: str) -> None:
        """Note that a user's sign-in ends the session of the token that it brought, even if that had an old secret."""
        life = self.lives.get(asked.token.session_id) if asked.token and asked.came_alive else None
        if life is not None and life.user == user:
            life.ended = True

    def hear(self, event: events.Event) -> None:
        """Check an event."""
        if isinstance(event, events.WentBack):
            assert self.is_restored, "P4: went back without a restore"
        if not isinstance(event, events.SessionEvent):
            return
        life = self.lives.get(event.session_id)
        if life is None:
            return  # a login that a restore has taken back
        if isinstance(event, events.ReuseDetected):
            assert life.is_shared or self.kind == "all", "P2: an honest client was taken for a thief"
            life.ended = True
            life.caught += 1
            assert life.caught == 1, "P3: reuse was told twice"
        elif isinstance(event, events.Evicted):
            assert self.cap is not None, "P2: evicted without a cap"
            life.ended = True
        elif isinstance(event, events.WentBack) or (isinstance(event, events.Rotated) and event.cause == "automatic"):
            life.adopted += 1
            assert life.adopted <= len(life.presented), "P4: a successor was adopted twice"

    # The end of an example

    def replay(self, history: History) -> None:
        """Take the steps of a history, and end it."""
        try:
            for name, arguments in history:
                getattr(self, name)(**arguments)
        finally:
            self.teardown()

    def teardown(self) -> None:
        """Let open handlers end; then every theft in which both go on has to be found."""
        ended_by = sys.exc_info()[1]
        self.is_stepping = True  # what follows is in no history
        try:
            if ended_by is None:
                while self.pending:
                    self.pending.pop().arrive()
                for thief in self.clients:
                    if thief.robbed is not None:
                        self.go_on(thief, thief.robbed)
        except AssertionError as error:
            ended_by = error
            raise
        finally:
            if isinstance(ended_by, AssertionError):
                self.found.append(Found(str(ended_by), self.history))
            for finish in self.open:
                self._run(finish())

    def go_on(self, thief: Client, owner: Client) -> None:
        """Let both go on with one session, without faults, until they are found."""
        tokens = [read(each.profile.value) for each in (owner, thief) if each.profile.value]
        lives = {token.session_id: self.lives.get(token.session_id) for token in tokens}
        life = lives[tokens[0].session_id] if tokens else None
        if len(tokens) < 2 or len(lives) > 1 or life is None or life.ended:
            return
        if {token.secret_hash for token in tokens} != {life.secret_hash}:
            return
        for _ in range(4):
            for seconds in (70, 1000):
                for client in (owner, thief) if thief.keeps else (thief, owner):
                    self.exchange([self.request(client, 0, "look")])
                self.wait(seconds)
        assert life.ended, "P3: a thief and the owner both went on"
        assert life.caught == 1, "P3: nobody was told of a theft"
