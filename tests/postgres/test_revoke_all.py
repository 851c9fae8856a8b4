"""Signing everybody out: at once however many there are, from the application and from the command line."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from time import monotonic
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil
import pytest
from aiohttp import web

import aiosess
from aiosess import events
from aiosess._postgres import endings
from aiosess.cli import main as cli
from tests.world.ageing import let_a_minute_pass
from tests.world.app import make_app
from tests.world.databases import fill
from tests.world.serve import served
from tests.world.site import visit
from tests.world.waiting import eventually
from tests.world.wire import COOKIE, Wire, request_bytes

MANY = 1_000_000 if os.environ.get("AIOSESS_NIGHTLY") == "1" else 50_000
ABSENT = "postgresql://nobody:hunter2@127.0.0.1:1/nothing"
REVOKE_ALL = (sys.executable, "-m", "aiosess", "revoke-all")


async def revoke_all_by_command(dsn: str, *options: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, with the DSN where no other user of the machine sees it."""
    command = [*REVOKE_ALL, *options]
    return await asyncio.to_thread(
        subprocess.run, command, env=knowing(dsn), input=answer, capture_output=True, text=True, check=False
    )


def knowing(dsn: str, variable: str = "AIOSESS_DSN") -> dict[str, str]:
    """Return the environment of the command line, with the DSN in this variable and in no other."""
    return {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | {variable: dsn}


@pytest.mark.threat("SES-08")
async def test_everybody_is_signed_out(dsn: str) -> None:
    """After revoke_all() nobody's cookie gets in, on any instance, and one event tells of it."""
    seen: list[events.Event] = []
    async with visit(make_app(dsn, on_event=seen.append)) as one, visit(make_app(dsn)) as other:
        browsers = [await (await one.browser()).login(user) for user in ("alice", "bob")]
        await one.store.revoke_all()
        assert [await browser.user() for browser in browsers] == [None, None]
        assert browsers[0].token is not None
        reply = await other.present(browsers[0].token)
        assert b"alice" not in reply.body
        assert await one.store.count() == 0
    assert [event for event in seen if isinstance(event, (events.AllRevoked, events.Revoked))] == [
        events.AllRevoked(at=next(event.at for event in seen if isinstance(event, events.AllRevoked)))
    ]


@pytest.mark.threat("SES-08")
async def test_many_sessions_end_as_fast_as_one(dsn: str, pg: asyncpg.Connection) -> None:
    """Any number of sessions is dropped without a statement that looks at them: none of their rows is deleted."""
    await fill(pg, MANY)
    async with visit(make_app(dsn)) as site:
        assert await site.store.count() == MANY
        await pg.execute("select pg_stat_force_next_flush()")
        before = await pg.fetchval("select n_tup_del from pg_stat_user_tables where relname = 'aiosess_sessions'")
        await site.store.revoke_all()
        assert await site.store.count() == 0
        after = await pg.fetchval("select n_tup_del from pg_stat_user_tables where relname = 'aiosess_sessions'")
        assert after == before


@pytest.mark.threat("SES-08")
async def test_another_process_sees_it_before_the_call_returns(
    dsn: str, pg: asyncpg.Connection, record_property: Callable[[str, object], None]
) -> None:
    """Who asks another process again and again is out by the time that revoke_all() returns, among however many."""
    async with visit(make_app(dsn)) as site, served(dsn) as (_, port):
        token = (await (await site.browser()).login("alice")).token
        await fill(pg, MANY)
        wire = await Wire.open(port)
        request = request_bytes("/me", f"Cookie: {COOKIE}={token}".encode())
        began, is_in, has_returned = monotonic(), True, False
        revocation = asyncio.create_task(site.store.revoke_all())
        while is_in:
            assert not has_returned, "asked after it had returned, and still in"
            has_returned = revocation.done()
            is_in = (await wire.ask(request)).user == "alice"
        record_property("milliseconds until nobody got in", round(1000 * (monotonic() - began)))
        await revocation
        record_property("milliseconds until the call returned", round(1000 * (monotonic() - began)))
        wire.abort()


@pytest.mark.threat("SES-08")
async def test_whoever_reads_the_table_does_not_stop_it(
    dsn: str, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a dump reads the table everybody is signed out all the same, in batches."""
    monkeypatch.setattr(endings, "REVOKE_BATCH", 10)
    await fill(pg, 25)
    async with visit(make_app(dsn)) as site, pg.transaction():
        await pg.execute("lock table aiosess_sessions in access share mode")
        await site.store.revoke_all()
        assert await site.store.count() == 0


@pytest.mark.threat("SES-08")
async def test_session_that_began_after_the_instant_stays(dsn: str, pg: asyncpg.Connection) -> None:
    """Rows that are deleted in batches are those from before: a login that follows meanwhile is not undone."""
    await fill(pg, 3)
    await pg.execute("update aiosess_sessions set created_at = now() + interval '1 minute' where user_id = 'user2'")
    async with visit(make_app(dsn)) as site, pg.transaction():
        await pg.execute("lock table aiosess_sessions in access share mode")
        await site.store.revoke_all()
    assert [row["user_id"] for row in await pg.fetch("select user_id from aiosess_sessions")] == ["user2"]


@pytest.mark.threat("SES-08")
async def test_login_under_way_is_caught(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who had only just proved the password when everybody was signed out does not get in."""
    arrived, checked = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        arrived.set()
        await checked.wait()
        await request[aiosess.SESSIONS].authenticate("alice")
        return web.Response()

    async with visit(make_app(dsn, web.post("/slow", slow))) as one, visit(make_app(dsn)) as other:
        browser = await one.browser()
        login = asyncio.create_task(browser.post("/slow"))
        await arrived.wait()
        let_a_minute_pass(monkeypatch)
        await other.store.revoke_all()
        checked.set()
        assert (await login).status == 401
        assert await browser.user() is None
        assert await (await (await one.browser()).login("alice")).user() == "alice"


async def test_request_that_signs_everybody_out_may_sign_in(dsn: str) -> None:
    """The login comes after the revocation in the same request, so it counts."""
    async with visit(make_app(dsn)) as site:

        async def reset(sessions: aiosess.SessionManager) -> None:
            await site.store.revoke_all()
            await sessions.authenticate("alice")

        browser = await site.browser()
        await browser.run(reset)
        assert await browser.user() == "alice"


async def test_stale_answers_end_with_it(dsn: str) -> None:
    """With max_staleness the process that signs everybody out does not go on believing its own memory."""
    async with visit(make_app(dsn, max_staleness=timedelta(hours=1))) as site:
        browser = await (await site.browser()).login("alice")
        assert await browser.user() == "alice"
        await site.store.revoke_all()
        assert await browser.user() is None


@pytest.mark.threat("SES-08", "DB-02")
async def test_role_that_may_not_truncate(empty_dsn: str) -> None:
    """A role that may only select, insert, update and delete signs everybody out too."""
    async with visit(make_app(empty_dsn)) as site:
        await (await site.browser()).login("alice")
    owner = await asyncpg.connect(empty_dsn)
    role = f"{await owner.fetchval('select current_database()')}_role"
    await owner.execute(f"create role {role} login")
    await owner.execute(f"grant select, insert, update, delete on all tables in schema public to {role}")
    try:
        async with (
            asyncpg.create_pool(empty_dsn, user=role, min_size=0) as pool,
            visit(make_app("", pool=pool, migrate=False)) as site,
        ):
            await site.store.revoke_all()
        assert await owner.fetchval("select count(*) from aiosess_sessions") == 0
    finally:
        await owner.execute(f"drop owned by {role}")
        await owner.execute(f"drop role {role}")
        await owner.close()


@pytest.mark.threat("SES-08")
async def test_table_of_the_application_may_refer_to_sessions(empty_dsn: str) -> None:
    """A foreign key keeps the table from being truncated, but nobody from being signed out."""
    async with visit(make_app(empty_dsn)) as site:
        browser = await (await site.browser()).login("alice")
        owner = await asyncpg.connect(empty_dsn)
        await owner.execute("create table audit (session_id uuid references aiosess_sessions on delete cascade)")
        await owner.execute("insert into audit select id from aiosess_sessions")
        await site.store.revoke_all()
        assert await browser.user() is None
        assert await site.store.count() == await owner.fetchval("select count(*) from audit") == 0
        await owner.close()


# From the command line


@pytest.mark.threat("SES-08")
async def test_command_signs_everybody_out(dsn: str) -> None:
    """``aiosess revoke-all`` ends all sessions of a running application."""
    async with visit(make_app(dsn)) as site:
        browser = await (await site.browser()).login("alice")
        done = await revoke_all_by_command(dsn, "--yes")
        assert (done.returncode, done.stdout, done.stderr) == (0, "Everybody is signed out.\n", "")
        assert await browser.user() is None


@pytest.mark.parametrize("answer", ["", "no\n", "Yes!\n"])
async def test_command_asks_first(answer: str, dsn: str) -> None:
    """Without an answer of yes the command does nothing, says so and fails."""
    async with visit(make_app(dsn)) as site:
        browser = await (await site.browser()).login("alice")
        done = await revoke_all_by_command(dsn, answer=answer)
        assert (done.returncode, done.stderr) == (1, "aiosess: nothing was done\n")
        assert await browser.user() == "alice"


async def test_command_does_what_was_answered(dsn: str) -> None:
    """An answer of yes is enough; the question says what would end, and where, and shows no password."""
    async with visit(make_app(dsn)) as site:
        await (await site.browser()).login("alice")
        done = await revoke_all_by_command(dsn, answer="yes\n")
        assert done.returncode == 0
        assert await site.store.count() == 0
    question, _, told = done.stdout.partition(" Type yes: ")
    assert question.startswith(f"Sign out the only session in {urlsplit(dsn).path[1:]} at ")
    assert told == "Everybody is signed out.\n"


async def test_question_counts(dsn: str, pg: asyncpg.Connection) -> None:
    """Whoever is asked knows how many sessions there are."""
    await fill(pg, 1234)
    done = await revoke_all_by_command(dsn)
    assert "Sign out all 1,234 sessions in " in done.stdout


@pytest.mark.parametrize(
    ("dsn_given", "host"),
    [
        ("postgresql://ada:hunter2@db.example:5432/shop", "db.example:5432"),
        ("postgresql://ada:hun@ter2@one.example,two.example:5433/shop", "one.example,two.example:5433"),
        ("postgresql://ada:hunter2@/shop?host=%2Frun%2Fpostgresql&password=hunter2", "/run/postgresql"),
        ("postgresql:///shop", "this machine"),
    ],
)
def test_question_names_the_host(dsn_given: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is said as the DSN has it, and nothing of the user or the password."""
    monkeypatch.delenv("PGHOST", raising=False)
    assert cli._host(dsn_given) == host


async def test_command_knows_the_usual_variable(dsn: str) -> None:
    """Where AIOSESS_DSN is not set or empty, DATABASE_URL is taken."""
    environment = knowing(dsn, "DATABASE_URL") | {"AIOSESS_DSN": ""}
    command = [*REVOKE_ALL, "--yes"]
    done = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0


async def test_interrupt_at_the_question_does_nothing(dsn: str) -> None:
    """Ctrl-C instead of an answer ends the command quietly, as it ends others, and nobody is signed out."""
    async with visit(make_app(dsn)) as site:
        browser = await (await site.browser()).login("alice")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        asked = await asyncio.create_subprocess_exec(*REVOKE_ALL, env=knowing(dsn), **pipes)
        await asked.stdout.readuntil(b"Type yes: ")
        # A signal that comes between the question and the wait for its answer is seen with the answer only.
        process = psutil.Process(asked.pid)
        await eventually(lambda: asyncio.to_thread(lambda: process.status() == psutil.STATUS_SLEEPING))
        asked.send_signal(signal.SIGINT)
        _, stderr = await asked.communicate()
        assert (asked.returncode, stderr) == (130, b"\naiosess: nothing was done\n")
        assert await browser.user() == "alice"


def test_interrupt_later_promises_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Ctrl-C while sessions are being ended does not say that nothing was done."""

    async def interrupted(_dsn: str, _config: aiosess.SessionConfig) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_revoke_all", interrupted)
    caplog.set_level(logging.CRITICAL, "aiosess")  # as the command does for good; this is undone
    with pytest.raises(SystemExit) as ended:
        cli.main(["revoke-all", "--yes", "--dsn", ABSENT])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\naiosess: interrupted: sessions may or may not have ended\n"


NOT_VALID = (
    "aiosess: dsn: the DSN is not valid, or a file that it needs is absent: write it like "
    "postgresql://user@host:5432/database\n"
)


@pytest.mark.parametrize(
    ("dsn_given", "options", "message"),
    [
        ("", (), "aiosess: give --dsn, or set AIOSESS_DSN or DATABASE_URL\n"),
        (ABSENT, (), "aiosess: nothing listens at the DSN's host and port: the connection was refused\n"),
        ("nonsense", (), NOT_VALID),
        ("postgresql://ada:hunter2@db.example:port/shop", (), NOT_VALID),
        ("postgresql://ada:hunter2@db.invalid/shop", (), "aiosess: the DSN's host is not known\n"),
        (
            "postgresql:///shop?host=/nowhere",
            (),
            "aiosess: nothing listens in the DSN's folder: is the server running?",
        ),
        (ABSENT, ("--schema", "a b"), "aiosess: schema: must match "),
    ],
)
@pytest.mark.parametrize("sure", [("--yes",), ()])
async def test_command_says_what_went_wrong(
    dsn_given: str, options: tuple[str, ...], message: str, sure: tuple[str, ...]
) -> None:
    """What stops the command is one line on stderr and an exit code of 1, and nobody is asked before."""
    done = await revoke_all_by_command(dsn_given, *sure, *options)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr
    assert done.stdout == ""


async def test_command_says_that_there_is_no_such_database(dsn: str) -> None:
    """A database that the server does not have is told in words."""
    done = await revoke_all_by_command(urlunsplit(urlsplit(dsn)._replace(path="/nothing")))
    assert done.stderr == "aiosess: the server does not have the DSN's database\n"


def test_command_tells_its_version() -> None:
    """``aiosess --version`` says which one is installed."""
    done = subprocess.run([sys.executable, "-m", "aiosess", "--version"], capture_output=True, text=True, check=False)
    assert done.stdout == f"aiosess {version('aiosess')}\n"


async def test_command_does_not_make_tables(empty_dsn: str) -> None:
    """In a database without our tables the command says so, and leaves it as it is."""
    done = await revoke_all_by_command(empty_dsn, "--yes")
    assert done.returncode == 1
    assert "holds no aiosess tables" in done.stderr
    connection = await asyncpg.connect(empty_dsn)
    assert await connection.fetchval("select to_regclass('aiosess_sessions')") is None
    await connection.close()
