"""
Many browsers, all faults at once, and thieves, against real processes, to see who is logged out without a reason.

What is promised (DESIGN, 5) holds while the faults keep to the protocol's own clock, ``rotation_overlap``. A token that
is presented one overlap after its promotion counts as kept by the browser; that is wrong when a browser crashes whose
disk lags so far, or when such a request was in flight so long, that together they reach the overlap. So 0 logouts is a
fair demand when

    disk lag + slowest request           < rotation_overlap, and
    slowest request + slowest response   < late_window

with room for what the machine itself is late. Here the disk lags by up to 0.4 s, a message takes up to 0.25 s more, and
the overlap is 1 s, which are about the proportions of the simulation beside the design; 0.35 s are the machine's. What
takes longer than that is counted as "overstayed": a logout near such a request may be the machine's fault. A disk that
lags by more than the overlap does log people out now and then, as the simulation shows. Where all spans are longer
(``Spans.times``, ``Faults.times``), so may be the lag: with an overlap of 8 s a crash brings back the jar of some
seconds ago.

Every second browser is signed in for as long as it runs. It is a Firefox: a crash brings back a session cookie of any
age since the sign-in, and the version cookie of now.
"""

import asyncio
import json
import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

from aiosess._token.keys import Keyring
from aiosess._token.token import Token
from tests.world.app import SECRET
from tests.world.browser import firefox
from tests.world.jar import Jar, Kept, Key
from tests.world.serve import served
from tests.world.wire import COOKIE, VERSION_COOKIE, Reply, Wire, request_bytes

BURST = 6  # parallel requests
RETRY = 0.2  # seconds until a browser that was not answered asks again
PATIENCE = 5  # times as long as it was to be, until what is wanted has happened
DRAIN = 120.0  # overlaps in which the last thieves are to be found
TELLS_WITHIN = 2.0  # seconds from a verdict to its alarm, on a busy machine
NAVIGATION = (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document")


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Options of the application, in seconds."""

    rotate_every: float = 8
    late_window: float = 5
    rotation_overlap: float = 1

    def times(self, factor: float) -> "Spans":
        """Return spans that are so many times as long."""
        return Spans(**{name: factor * seconds for name, seconds in asdict(self).items()})


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How often and how badly things go wrong; seconds and shares."""

    lost: float = 0.05  # of the responses
    slow: float = 1 / 3  # of the messages
    delay: float = 0.25  # of a slow message, at most
    crash: float = 0.02  # after a burst
    crash_with_new_cookie: float = 0.2
    crash_within: float = 0.7
    disk_lag: float = 0.4  # at most
    process_life: float = 20  # on average, until SIGKILL

    def times(self, factor: float) -> "Faults":
        """Return faults for spans that are so many times as long: disks lag by more, messages are no slower."""
        return replace(self, disk_lag=factor * self.disk_lag, crash_within=factor * self.crash_within)


@dataclass
class Theft:
    """A jar that was copied, when either of the two was out, and who found it out; instants by the monotonic clock."""

    session: str
    stolen_at: float
    owner_out: float | None = None
    thief_out: float | None = None
    reuse_at: float | None = None
    found: list[tuple[int, float]] = field(default_factory=list)  # by which process, when

    @property
    def is_over(self) -> bool:
        """Whether neither goes on."""
        return self.owner_out is not None and self.thief_out is not None


@dataclass
class Report:
    """What came of a soak."""

    seed: int
    seconds: float = 0
    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0  # seconds from reading the jar to the answer, what was slow on purpose included
    logouts: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    thefts: list[Theft] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    alarms: int = 0  # ReuseDetected of a session that nobody had stolen
    killed: dict[int, float] = field(default_factory=dict)  # processes, when

    @property
    def detection_times(self) -> list[float]:
        """Seconds from each detected theft to its detection, in order."""
        return sorted(theft.reuse_at - theft.stolen_at for theft in self.thefts if theft.reuse_at is not None)

    @property
    def unseen(self) -> list[Theft]:
        """The thefts in which somebody still goes on."""
        return [theft for theft in self.thefts if not theft.is_over]

    @property
    def untold(self) -> list[Theft]:
        """The thefts that ended the session without an alarm: the process was killed between commit and event."""
        return [theft for theft in self.thefts if theft.is_over and theft.reuse_at is None]

    @property
    def unexplained(self) -> list[Theft]:
        """Those of them whose process was not killed when it had found the theft."""
        return [theft for theft in self.untold if not any(self._is_killed_soon(*each) for each in theft.found)]

    @property
    def is_clean(self) -> bool:
        """Whether nobody honest was logged out, and no thief goes on unseen."""
        return not (self.logouts or self.wrong or self.alarms or self.unseen or self.unexplained)

    @property
    def is_late(self) -> bool:
        """Whether the machine was slower than the protocol's clock allows, so that no logout shows a bug."""
        return self.counts["requests that overstayed"] > 0

    def _is_killed_soon(self, process: int, at: float) -> bool:
        return process in self.killed and 0 <= self.killed[process] - at < TELLS_WITHIN


class Fleet:
    """Server processes on one database that are killed and replaced, and idle connections to them."""

    def __init__(self, dsn: str, size: int, options: dict[str, Any], life: float, soak: "Soak") -> None:
        """Start nothing yet."""
        self._dsn, self._options, self._life, self._soak = dsn, options, life, soak
        self._ports: dict[int, int] = {}
        self._size = size
        self._idle: dict[int, list[Wire]] = {}

    async def start(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Start every process."""
        running = [tasks.create_task(self._keep_up(number)) for number in range(self._size)]
        while len(self._ports) < self._size:  # noqa: ASYNC110 - processes say when they are there, one by one
            await asyncio.sleep(RETRY)
        return running

    async def _keep_up(self, number: int) -> None:
        while True:
            async with served(self._dsn, module="tools.soak_site", **self._options) as (process, port):
                self._ports[number] = port
                await asyncio.sleep(2 + self._soak.random.expovariate(1 / self._life))
                process.kill()
                self._soak.report.killed[process.pid] = monotonic()
                self._soak.count("processes killed")

    def any_port(self) -> int:
        """Return where some process listens, or did a moment ago."""
        return self._soak.random.choice(list(self._ports.values()))

    async def ask(self, request: bytes) -> Reply:
        """Ask any process, over a connection that is kept."""
        port = self.any_port()
        idle = self._idle.setdefault(port, [])
        wire = idle.pop() if idle else Wire(*await asyncio.open_connection("127.0.0.1", port))
        try:
            reply = await wire.ask(request)
        except BaseException:
            wire.abort()
            raise
        idle.append(wire)
        return reply

    async def ask_and_go(self, request: bytes) -> None:
        """Ask any process, and be gone before it answers."""
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.any_port()))
        await wire.send(request)
        await wire.close()

    def close(self) -> None:
        """Close the connections."""
        for wires in self._idle.values():
            for wire in wires:
                wire.abort()


class Holder:
    """Who holds a jar and asks with it, over a network that loses and delays; a thief, or what a browser is, too."""

    user = ""
    agent = firefox(127)
    keeps = True  # the cookies that it is given

    def __init__(self, soak: "Soak", name: str) -> None:
        """Start with an empty jar."""
        self.soak, self.name = soak, name
        self.jar = Jar()
        self.life = 0  # what was asked in an earlier one is answered to nobody
        self.story: deque[tuple[float, str]] = deque(maxlen=400)

    def note(self, what: str) -> None:
        """Remember what happened."""
        self.story.append((monotonic(), f"{self.name} {what}"))

    async def ask(self, *headers: bytes) -> None:
        """Ask who one is until there is an answer, and take what it brings unless it is lost."""
        soak, life = self.soak, self.life
        while self.life == life:
            cookie, read_at = self.jar.header(), monotonic()
            request = request_bytes("/me", f"Cookie: {cookie}".encode(), f"User-Agent: {self.agent}".encode(), *headers)
            if not self.keeps:
                self.agent = firefox(soak.random.randrange(200, 1000))
            await soak.delay("requests late")
            try:
                if soak.random.random() < soak.faults.lost / 2:
                    soak.count("responses lost, connection cut")
                    self.note(f"asks with {_named(cookie)} and is gone")
                    await soak.fleet.ask_and_go(request)
                    return
                reply = await soak.fleet.ask(request)
            except (OSError, EOFError):
                soak.count("requests refused or cut")
                await asyncio.sleep(RETRY)
                continue
            took = monotonic() - read_at
            if soak.overstays(took):
                self.note(f"has waited {took:.2f} s for the answer to {_named(cookie)}")
            if reply.status == 503:
                soak.count("answers 503")
                await asyncio.sleep(RETRY)
                continue
            await self._receive(reply, cookie, life)
            return

    async def _receive(self, reply: Reply, cookie: str, life: int) -> None:
        soak = self.soak
        if reply.token is not None:
            soak.count("cookies sent")
            self.note(f"with {_named(cookie)} is sent {_named(reply.token) or 'a deletion'}")
        if soak.random.random() < soak.faults.lost / 2:
            soak.count("responses lost")
            if reply.token is not None:
                soak.count("cookies lost")
                self.note("loses it")
            return
        order = soak.next_order()
        await soak.delay("responses late")
        if self.life != life:
            soak.count("responses to a browser that had crashed")
            return
        soak.see_order(order)
        for header in reply.headers.getall("Set-Cookie", ()) if self.keeps else ():
            assert self.jar.take(header), header
            self.took()
        if reply.status != 200 or reply.user not in {None, self.user}:
            soak.report.wrong.append(f"{self.name}: {reply.status} {reply.body!r}")
        elif reply.user is None:
            self.note(f"with {_named(cookie)} is anonymous")
            self.out()

    def took(self) -> None:
        """Go on with a cookie that came."""

    def out(self) -> None:
        """Go on as anonymous."""
        self.life += 1


class Browser(Holder):
    """An honest browser: bursts of requests, idle times, crashes, and a disk that is always a little behind."""

    def __init__(self, soak: "Soak", number: int) -> None:
        """Belong to a user of its own."""
        super().__init__(soak, "browser")
        self.user = f"user{number}"
        self.is_brief = number % 2 == 1  # its session cookie ends with the browser
        self.session = ""  # its id, while signed in
        self.theft: Theft | None = None
        self._past: deque[tuple[float, Jar]] = deque()
        self._stored: list[dict[Key, Kept]] = []  # the session cookies that it ever had
        self._pace = soak.random.choice([0.03, 0.5, 5])

    async def run(self) -> None:
        """Browse, and sign in whenever it is necessary."""
        while not self.soak.over.is_set():
            if not self.session:
                await self._login()
            asked = [self.ask(*(NAVIGATION if number == 0 else ())) for number in range(BURST)]
            self._maybe_crash(self.soak.faults.crash)
            await asyncio.gather(*asked)
            await self._idle()

    async def _idle(self) -> None:
        spans = self.soak.spans
        longest = self.soak.random.choice([self._pace, 1.2 * spans.rotation_overlap, 1.25 * spans.rotate_every])
        with suppress(TimeoutError):
            async with asyncio.timeout(self.soak.random.uniform(0, longest)):
                await self.soak.over.wait()

    async def _login(self) -> None:
        target = f"/login/{self.user}" + "?brief" * self.is_brief
        login = request_bytes(target, f"User-Agent: {self.agent}".encode(), method="POST")
        while True:
            try:
                reply = await self.soak.fleet.ask(login)
            except (OSError, EOFError):
                await asyncio.sleep(RETRY)
                continue
            if reply.status == 200:
                break
            await asyncio.sleep(RETRY)
        for header in reply.headers.getall("Set-Cookie", ()):
            self.jar.take(header)
        self.session = str(_read(self.jar.header().partition("=")[2]).session_id)
        self._past = deque([(monotonic(), deepcopy(self.jar))])
        self._stored = [self._ending_with_it()]
        self.story.clear()
        self.note(f"signs in with {_named(self.jar.header())}")
        self.soak.count("logins")

    def took(self) -> None:
        """Have the new cookie in memory, and later on disk."""
        self._past.append((monotonic(), deepcopy(self.jar)))
        self._stored.append(self._ending_with_it())
        self._maybe_crash(self.soak.faults.crash_with_new_cookie)

    def _ending_with_it(self) -> dict[Key, Kept]:
        return {key: kept for key, kept in self.jar.kept.items() if kept.ends_at is None}

    def _maybe_crash(self, share: float) -> None:
        if self.soak.random.random() < share:
            when = self.soak.random.uniform(0, self.soak.faults.crash_within)
            asyncio.get_running_loop().call_later(when, self._crash, self.life)

    def _crash(self, life: int) -> None:
        """Start again from the disk, unless that has happened meanwhile."""
        if self.life != life:
            return
        self.life += 1
        self.soak.count("crashes")
        if self.is_brief:
            self._bring_back(self.soak.random.choice(self._stored))
        else:
            self._fall_back()
        self.note(f"crashes back to {_named(self.jar.header())}")

    def _bring_back(self, stored: dict[Key, Kept]) -> None:
        """Have a session cookie of any age, and what is on the disk at once."""
        if stored != self._ending_with_it():
            self.soak.count("crashes that brought an old session cookie back")
        self.jar.kept = stored | self.jar.lasting()

    def _fall_back(self) -> None:
        """Have the jar of some moment ago."""
        saved_at = monotonic() - self.soak.random.uniform(0, self.soak.faults.disk_lag)
        jar = next((jar for at, jar in reversed(self._past) if at <= saved_at), self._past[0][1])
        if jar != self.jar:
            self.soak.count("crashes that took a cookie back")
        self.jar = deepcopy(jar)
        self._past = deque([(monotonic(), jar)])

    def out(self) -> None:
        """Be logged out: by a thief's doing, or without a reason."""
        if self.theft is not None:
            self.theft.owner_out = monotonic()
        else:
            self.soak.logged_out(self)
        self.theft, self.session, self.jar = None, "", Jar()
        super().out()


class Thief(Holder):
    """
    Who has copied a browser's jar, and asks every few seconds; half of them with the same cookie for ever.

    Those call themselves another browser each time, so that they are another client. Some have the session cookie
    without the version cookie.
    """

    agent = firefox(128)

    def __init__(self, soak: "Soak", victim: Browser) -> None:
        """Copy the jar as it is."""
        super().__init__(soak, "thief")
        self.user, self.jar = victim.user, deepcopy(victim.jar)
        if soak.random.random() < 0.5:
            self.jar.kept.pop((VERSION_COOKIE, None, "/"), None)
        self.keeps = soak.random.random() < 0.5
        self.story = victim.story
        self.theft = victim.theft = Theft(victim.session, monotonic())
        soak.report.thefts.append(self.theft)
        self.note(f"copies {_named(self.jar.header())}")

    async def run(self) -> None:
        """Go on until it is over."""
        while self.theft.thief_out is None and not self.soak.over.is_set():
            await asyncio.sleep(self.soak.random.uniform(1, 4))
            await self.ask()

    def out(self) -> None:
        """Be found out."""
        self.theft.thief_out = monotonic()
        super().out()


class Soak:
    """One soak: its browsers, its processes, its faults, and what it has counted."""

    def __init__(self, dsn: str, journal: Path, *, spans: Spans, faults: Faults, processes: int = 3) -> None:
        """Start nothing yet."""
        self.spans, self.faults = spans, faults
        self.report = Report(seed=random.SystemRandom().randrange(2**32))
        self.random = random.Random(self.report.seed)  # noqa: S311 - faults, no secret
        self._journal = journal
        options = asdict(spans) | {"journal": str(journal)}
        self.fleet = Fleet(dsn, processes, options, faults.process_life, self)
        self.browsers: list[Browser] = []
        self.over = asyncio.Event()
        self._logged_out: list[tuple[str, list[tuple[float, str]]]] = []
        self._order = self._seen_order = 0

    async def run(
        self, *, browsers: int, seconds: float, thefts_per_second: float = 0, least: Mapping[str, int] | None = None
    ) -> Report:
        """
        Soak, and say what came of it.

        While there was less of something than `least` says, it goes on, but no longer than `PATIENCE` allows.
        """
        async with asyncio.TaskGroup() as tasks:
            processes = await self.fleet.start(tasks)
            began = monotonic()
            self.browsers = [Browser(self, number) for number in range(browsers)]
            running = [tasks.create_task(browser.run()) for browser in self.browsers]
            if thefts_per_second:
                running += await self._steal(tasks, began + seconds, thefts_per_second)
            await asyncio.sleep(max(0, began + seconds - monotonic()))
            await self._go_on(Counter(least or {}), began + PATIENCE * seconds)
            await self._find_the_last_thieves()
            self.over.set()
            await asyncio.wait(running)
            self.report.seconds = monotonic() - began
            self.fleet.close()
            for process in processes:
                process.cancel()
        self._read_journal()
        return self.report

    async def _steal(self, tasks: asyncio.TaskGroup, until: float, per_second: float) -> list[asyncio.Task[None]]:
        """Copy jars at random, and let the thieves go on."""
        thieves = []
        while monotonic() < until:
            await asyncio.sleep(self.random.expovariate(per_second))
            victim = self.random.choice(self.browsers)
            if victim.theft is None and victim.session:
                thieves.append(tasks.create_task(Thief(self, victim).run()))
        return thieves

    async def _go_on(self, least: Counter[str], end: float) -> None:
        while monotonic() < end and not least <= self.report.counts + self._verdicts():  # noqa: ASYNC110 - faults tell nobody
            await asyncio.sleep(RETRY)

    async def _find_the_last_thieves(self) -> None:
        end = monotonic() + DRAIN * self.spans.rotation_overlap
        while monotonic() < end and not all(theft.is_over for theft in self.report.thefts):  # noqa: ASYNC110 - thefts tell nobody
            await asyncio.sleep(RETRY)

    # What browsers tell

    def count(self, what: str) -> None:
        """Count something."""
        self.report.counts[what] += 1

    def overstays(self, seconds: float) -> bool:
        """Note how long a token was under way, there and back; say whether that is longer than the protocol allows."""
        self.count("requests")
        self.report.slowest = max(self.report.slowest, seconds)
        too_long = seconds + self.faults.disk_lag > self.spans.rotation_overlap
        self.report.counts["requests that overstayed"] += too_long
        return too_long

    async def delay(self, what: str) -> None:
        """Hold up a message, or not."""
        if self.random.random() < self.faults.slow:
            self.count(what)
            await asyncio.sleep(self.random.uniform(0, self.faults.delay))

    def next_order(self) -> int:
        """Give an answer its number, in the order in which they leave the server."""
        self._order += 1
        return self._order

    def see_order(self, order: int) -> None:
        """Count an answer that comes after a later one."""
        if order < self._seen_order:
            self.count("responses out of order")
        self._seen_order = max(order, self._seen_order)

    def logged_out(self, browser: Browser) -> None:
        """Keep the story of an honest browser that was logged out."""
        self._logged_out.append((browser.session, list(browser.story)))

    # What the processes tell

    def _verdicts(self) -> Counter[str]:
        return Counter(line["what"] for line in _lines(self._journal))

    def _read_journal(self) -> None:
        report, thefts = self.report, {theft.session: theft for theft in self.report.thefts}
        report.verdicts = self._verdicts()
        wanted = {session for session, _ in self._logged_out}
        kept: dict[str, list[tuple[float, str]]] = {session: [] for session in wanted}
        for line in _lines(self._journal):
            session, what = line["session"], line["what"]
            if what == "reuse" and session in thefts:
                thefts[session].found.append((line["process"], line["at"]))
            if what == "ReuseDetected":
                if session in thefts:
                    thefts[session].reuse_at = line["at"]
                else:
                    report.alarms += 1
            if session in wanted:
                kept[session].append((line["at"], json.dumps(line)))
        for session, story in self._logged_out:
            told = sorted([*story, *kept[session]])
            first = told[0][0]
            report.logouts.append("\n".join(f"{at - first:9.3f} {what}" for at, what in told))


def _lines(journal: Path) -> Iterator[dict[str, Any]]:
    with journal.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


@cache
def _read(text: str) -> Token:
    return Keyring(SECRET).verify(text, "aiosess")


def _named(text: str) -> str:
    """Name a token, by its id: of a cookie's value, or of a Cookie header, where the version cookie names another."""
    text, _, version = text.removeprefix(f"{COOKIE}=").partition(f"; {VERSION_COOKIE}=")
    return " ".join([_read(text).id, *version.split(".")[1:2]]) if text else ""
