"""
The rotation protocol against every history that hypothesis thinks of, and the bugs that the model has to find.

The search for the bugs takes minutes, so it is left to the nightly run. Any other run replays one history per bug, from
histories.json. When the protocol or the model has changed so that a history no longer shows its bug, find another one:
``AIOSESS_NIGHTLY=1 AIOSESS_RECORD=1 python -m pytest tests/rotation/test_model.py -k "by_itself and …"``.
"""

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from aiosess._check import checker, held
from aiosess._postgres import statements, upkeep
from aiosess._postgres.login import Login, Logins
from aiosess._postgres.rows import Rows
from aiosess._row import Row
from aiosess._token import cookie, reader, rotation
from aiosess._token.rotation import Meaning, Verdict
from aiosess._token.token import Token, new_token
from aiosess._web import admission, manager, middleware, visit
from tests.rotation.fleet import Fleet
from tests.rotation.model import Found, History, Rotation
from tests.rotation.seeds import Seed, judging_in

NIGHTLY = os.environ.get("AIOSESS_NIGHTLY") == "1"
RECORDS = os.environ.get("AIOSESS_RECORD") == "1"
HISTORIES = Path(__file__).with_name("histories.json")
REPLAYS = 10  # a bug that depends on a race does not show each time
SEARCH = 1_000  # examples in which a seeded bug has to show
SETTINGS = settings(
    max_examples=10_000 if NIGHTLY else 200,
    stateful_step_count=25,
    deadline=None,
    derandomize=not NIGHTLY,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@contextmanager
def running(dsn: str, kind: str | None, found: list[Found]) -> Iterator[Callable[[], Rotation]]:
    """Start the applications on a loop of their own, for all examples; what comes makes a machine on them."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        fleet = Fleet(dsn)
        runner.run(fleet.start())
        try:
            yield lambda: Rotation(fleet, runner, kind, found)
        finally:
            runner.run(fleet.stop())


judging = partial(judging_in, admission)


def take_any_sibling(patch: pytest.MonkeyPatch) -> None:
    """Accept another successor of the same parent even when the current one is settled."""
    judge = rotation.judge

    def misjudge(row: Row, token: Token, *others: Any) -> Verdict:
        verdict = judge(row, token, *others)
        is_sibling = token.version == row.version and token.parent_id == row.parent_id
        return Verdict(Meaning.SIBLING) if verdict.meaning is Meaning.REUSE and is_sibling else verdict

    patch.setattr(admission, "judge", misjudge)


def stating(name: str, pattern: str, text: str) -> Seed:
    """Change one statement."""

    def seed(patch: pytest.MonkeyPatch) -> None:
        statement = statements.statement

        def misstate(wanted: str, schema: str) -> str:
            right = statement(wanted, schema)
            wrong = re.sub(pattern, text, right, flags=re.DOTALL)
            assert (wrong != right) or wanted != name
            return wrong if wanted == name else right

        patch.setattr(statements, "statement", misstate)

    return seed


def writing(pattern: str, text: str) -> Seed:
    """Change every cookie that is sent."""

    def seed(patch: pytest.MonkeyPatch) -> None:
        write = cookie.Cookie.write
        patch.setattr(cookie.Cookie, "write", lambda *what: re.sub(pattern, text, write(*what)))

    return seed


def setting(owner: Any, name: str, value: Any) -> Seed:
    """Replace an attribute."""
    return lambda patch: patch.setattr(owner, name, value)


def login_with(**changes: Any) -> Seed:
    """Change what a login asks of the store."""

    def seed(patch: pytest.MonkeyPatch) -> None:
        authenticate = Logins.authenticate

        async def misauthenticate(self: Logins, login: Login) -> Row | None:
            return await authenticate(self, replace(login, **{name: make() for name, make in changes.items()}))

        patch.setattr(Logins, "authenticate", misauthenticate)

    return seed


def keep_the_secret(patch: pytest.MonkeyPatch) -> None:
    """Give every token of a session that is made anew the session's first secret."""
    first: dict[UUID, Token] = {}

    def make(session_id: UUID, *others: Any) -> Token:
        token = new_token(session_id, *others)
        kept = first.setdefault(session_id, token)
        return replace(token, secret=kept.secret, secret_hash=kept.secret_hash)

    patch.setattr(manager, "new_token", make)


def trust_memory(patch: pytest.MonkeyPatch) -> None:
    """Believe a held row without asking."""
    check = checker.Checker.check

    async def guess(self: checker.Checker, token: Token) -> Row | None:
        held = self._held.get(token.session_id.int)
        return await check(self, token) if held is None else held.row

    patch.setattr(checker.Checker, "check", guess)


def delete_in_passing(patch: pytest.MonkeyPatch) -> None:
    """Delete the cookie that came, whenever nobody is signed in with it."""
    make_response_hook = middleware.RequestHooks._make_response_hook

    def make_mistaken_hook(self: middleware.RequestHooks) -> object:
        on_response_prepare = make_response_hook(self)

        async def misprepare(request: web.Request, response: web.StreamResponse) -> None:
            visit = self._visit.get()
            if visit is not None and visit.row is None:
                self._transport.delete_cookie(visit)
            await on_response_prepare(request, response)

        return misprepare

    patch.setattr(middleware.RequestHooks, "_make_response_hook", make_mistaken_hook)


def tell_no_going_back(patch: pytest.MonkeyPatch) -> None:
    """Adopt a token from the database's future like any other."""
    adopt = Rows.adopt

    async def misadopt(self: Rows, *judged: Any, went_back: bool) -> Row | None:  # noqa: ARG001 - the bug
        return await adopt(self, *judged, went_back=False)

    patch.setattr(Rows, "adopt", misadopt)


def be_fresh_when_late(patch: pytest.MonkeyPatch) -> None:
    """Forget of every accepted token whether it is late."""
    accept = visit.Visit.accept

    def misaccept(self: visit.Visit, *accepted: Any, is_late: bool = False, mints: bool = False) -> None:  # noqa: ARG001 - the bug
        accept(self, *accepted, mints=mints)

    patch.setattr(visit.Visit, "accept", misaccept)


def lease_for_an_overlap(patch: pytest.MonkeyPatch) -> None:
    """Treat the holder of a lease like anybody else; what that does for a thief is another bug."""
    stating("lease", r"(then )\$6::float8", r"\1least($6::float8, $5::float8)")(patch)
    patch.setattr(Rotation, "go_on", lambda *_: None)


@dataclass(frozen=True)
class Bug:
    """How a bug is put in, which promise it breaks, and with which kind of fault (None: with any)."""

    promise: str
    kind: str | None
    seed: Seed


BUGS = {
    # what judge() says
    "reuse is taken for late": Bug("P3", None, judging(Meaning.REUSE, meaning=Meaning.LATE)),
    "every sibling is accepted": Bug("P3", None, take_any_sibling),
    "a late token gets a successor": Bug("P5", None, judging(Meaning.LATE, mints=True)),
    "an old token is reuse (RFC 9700)": Bug(
        "P2", "crash", judging(Meaning.LATE, Meaning.ROLLBACK, Meaning.SIBLING, meaning=Meaning.REUSE, mints=False)
    ),
    "late is reuse": Bug("P2", "slow", judging(Meaning.LATE, meaning=Meaning.REUSE)),
    "rollback is reuse": Bug("P2", "crash", judging(Meaning.ROLLBACK, meaning=Meaning.REUSE, mints=False)),
    "sibling is reuse": Bug("P2", "crash", judging(Meaning.SIBLING, meaning=Meaning.REUSE)),
    "ahead is reuse": Bug("P2", "restore", judging(Meaning.AHEAD, meaning=Meaning.REUSE)),
    "ahead is not adopted": Bug("P4", "restore", judging(Meaning.AHEAD, meaning=Meaning.LATE)),
    "a dead secret is late": Bug("P1", "loss", judging(Meaning.INVALID, meaning=Meaning.LATE)),
    "version cookies are ignored": Bug("P2", "store", setting(reader, "newest_token", lambda token, *_: token)),
    # statements and the store
    "adoption does not compare": Bug(
        "P4",
        None,
        stating(
            "adopt",
            r"and s\.token_id = \$6::text and s\.settled_at is not distinct from \$7::timestamptz",
            "and coalesce($6::text, $7::timestamptz::text) is not null",
        ),
    ),
    "retired tokens are forgotten": Bug(
        "P5", "slow", stating("adopt", r"r\.place > .*? \$5::int", "r.place > 1000 + $5::int")
    ),
    "settled at once": Bug("P2", "crash", stating("adopt", "settled_at = null", "settled_at = now()")),
    "the lease is not looked at": Bug("P4", None, stating("lease", r"(?<=and )coalesce\(case.*\) <= now\(\)", "true")),
    "a thief may keep the lease": Bug("P3", None, stating("lease", r"power\(.*?\)|(?<=else )2", "1")),
    "the lease ends before the last upload": Bug("P2", "upload", lease_for_an_overlap),
    "revocation deletes nothing": Bug(
        "P1", None, stating("revoke", r"delete from (\S+) s", r"update \1 s set ip = s.ip")
    ),
    "going back is not told": Bug("P4", "restore", tell_no_going_back),
    "a login outlives a revocation": Bug("P1", "upload", login_with(began=monotonic)),
    "a login keeps the earlier session": Bug("P1", None, login_with(earlier_id=lambda: None)),
    "a login keeps the session of an old secret": Bug("P1", None, login_with(presented_id=lambda: None)),
    "rotate() keeps the secret": Bug("P1", None, keep_the_secret),
    "reauthenticated() proves nothing": Bug(
        "P5",
        None,
        stating("rotate", r"case when \$5::boolean then now\(\)", "case when $5::boolean then s.authenticated_at"),
    ),
    "the cap is not looked at": Bug("P1", None, stating("authenticate", r"\$17::int", "nullif($17::int, $17::int)")),
    "a dead token gets a successor": Bug(
        "P2",
        "upload",
        stating(
            "lease",
            r"and s\.token_id = \$2::text and s\.settled_at is not distinct from \$8::timestamptz",
            "and $2::text <> '' and ($8::timestamptz is null or true)",
        ),
    ),
    # visit and checker
    "late tokens may be fresh": Bug("P5", "slow", be_fresh_when_late),
    "cookies are deleted in passing": Bug("P2", None, delete_in_passing),
    "cookies end after an hour": Bug("P2", None, writing(r"Max-Age=\d{2,}", "Max-Age=3600")),
    "cookies end with the browser": Bug("P2", None, writing(r"; Max-Age=\d{2,}", "")),
    "cookies outlive the browser": Bug("P1", "crash", writing("Path=/; Secure", "Path=/; Max-Age=30000000; Secure")),
    "cookies are not Secure": Bug("P2", None, writing("; Secure", "")),
    "held rows are believed": Bug("P1", None, trust_memory),
    "a lost connection forgets nothing": Bug("P2", "restore", setting(held.Held, "forget_all", lambda _: None)),
}


@pytest.fixture(autouse=True)
def marks_are_written_when_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the writing of marks to the machine: an example has to go the same way each time."""
    monkeypatch.setattr(upkeep, "FLUSH_EVERY", 86_400.0)


@pytest.mark.threat("ROT-09")
def test_no_history_breaks_the_protocol(dsn: str) -> None:
    """No order of requests, faults, thefts, endings, restores and time breaks one of the five promises."""
    with running(dsn, None, []) as machine:
        run_state_machine_as_test(machine, settings=SETTINGS)


@pytest.mark.threat("ROT-09")
@pytest.mark.parametrize("name", BUGS)
def test_every_seeded_bug_is_found(dsn: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A stored history breaks no promise, and the one that it should once a bug is put into the protocol."""
    bug, history = BUGS[name], json.loads(HISTORIES.read_text())[name]
    with running(dsn, bug.kind, []) as machine:
        machine().replay(history)
    bug.seed(monkeypatch)
    found: list[Found] = []
    with running(dsn, bug.kind, found) as machine:
        for _ in range(REPLAYS):
            with suppress(AssertionError):
                machine().replay(history)
            if found:
                break
    assert found, "the history no longer shows the bug"
    assert found[0].broken.startswith(bug.promise), found[0].broken


@pytest.mark.skipif(not NIGHTLY, reason="the search for seeded bugs is left to the nightly run")
@pytest.mark.parametrize("name", BUGS)
def test_model_finds_every_seeded_bug_by_itself(dsn: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A bug that is put into the protocol breaks the promise that it should, within a bounded number of examples."""
    bug = BUGS[name]
    bug.seed(monkeypatch)
    search = settings(SETTINGS, max_examples=SEARCH, phases=[Phase.generate], derandomize=not RECORDS, database=None)
    found: list[Found] = []
    # What depends on a race may not come a second time, which hypothesis calls flaky.
    with running(dsn, bug.kind, found) as machine:
        with suppress(AssertionError, Flaky):
            run_state_machine_as_test(machine, settings=search)
        assert found, f"not found in {SEARCH} examples"
        assert found[0].broken.startswith(bug.promise), found[0].broken
        if RECORDS:
            record(name, shortened(machine, found, found[0].history))


def shortened(machine: Callable[[], Rotation], found: list[Found], history: History) -> History:
    """Leave out of a history what it does not need to break the same promise, three times out of three."""
    promise = found[0].broken[:2]

    def breaks(steps: History) -> bool:
        for _ in range(3):
            found.clear()
            with suppress(AssertionError):
                machine().replay(steps)
            if not (found and found[0].broken.startswith(promise)):
                return False
        return True

    assert breaks(history), "the history breaks the promise only now and then: search again"
    size = len(history) // 2
    while size:
        start = 1  # the first step signs the browsers in
        while start < len(history):
            shorter = history[:start] + history[start + size :]
            if breaks(shorter):
                history = shorter
            else:
                start += size
        size //= 2
    return history


def record(name: str, history: History) -> None:
    """Store the history that shows a bug, a step on each line."""
    histories = json.loads(HISTORIES.read_text()) | {name: history}
    entries = (
        f"  {json.dumps(name)}: [\n    " + ",\n    ".join(map(json.dumps, histories[name])) + "\n  ]"
        for name in BUGS
        if name in histories
    )
    HISTORIES.write_text("{\n" + ",\n".join(entries) + "\n}\n")
