"""What a run needs: PostgreSQL, Redis and the sites, each on its own core, ended with the run."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep

from aiosess.embedded import EmbeddedPostgres

HERE = Path(__file__).parent
SITE_CORE, LOAD_CORE = 0, 1
FIRST_PORT = 18400
USERS = 1000
USER_AGENT = "wrk"  # the same for logins and load, as a browser would

SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements",
    "max_connections": "200",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
}


class Site:
    """One site in a process of its own, and a file with the cookies of its users."""

    def __init__(self, kind: str, port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
        """Take a process that was started."""
        self.kind = kind
        self.port = port
        self.process = process
        self.cookies = folder / f"cookies-{kind}"

    def wait(self) -> None:
        """Wait until it answers."""
        end = monotonic() + 30
        while monotonic() < end:
            try:
                self.cpu()
            except OSError:
                sleep(0.05)
            else:
                return
        message = f"{self.kind} did not start"
        raise RuntimeError(message)

    def sign_in(self, users: int = USERS) -> None:
        """Sign users in, and write down their cookies."""
        connection = HTTPConnection("127.0.0.1", self.port)
        lines = []
        for number in range(users):
            connection.request("POST", f"/login/user{number}", headers={"User-Agent": USER_AGENT})
            response = connection.getresponse()
            response.read()
            lines.append((response.getheader("Set-Cookie") or "").partition(";")[0] + "\n")
        self.cookies.write_text("".join(lines) if lines[0].strip() else "")
        connection.close()

    def cpu(self) -> float:
        """Return the processor time it has used, in seconds."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/cpu", timeout=5) as answer:
            seconds: float = json.load(answer)
        return seconds

    def memory(self) -> int:
        """Return its resident memory in bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class Servers:
    """The database servers of a run, and a way to start sites."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        """Start them in a folder."""
        self._stack = stack
        self._folder = folder
        self._ports = iter(range(FIRST_PORT, FIRST_PORT + 1000))
        postgres = stack.enter_context(EmbeddedPostgres(folder / "pg", settings=SETTINGS))
        _pin(postgres.pid, LOAD_CORE)
        self.dsn = postgres.dsn
        port = next(self._ports)
        self.redis = f"redis://127.0.0.1:{port}"
        program = shutil.which("redis-server")
        if program is not None:
            self._start([program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], LOAD_CORE)

    def site(self, kind: str) -> Site:
        """Start a site, and sign its users in."""
        port = next(self._ports)
        command = [sys.executable, "-m", "bench.site", kind, "--port", str(port)]
        command += ["--dsn", self.dsn, "--redis", self.redis]
        site = Site(kind, port, self._start(command, SITE_CORE), self._folder)
        site.wait()
        site.sign_in()
        return site

    def _start(self, command: list[str], core: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=HERE.parent)
        _pin(process.pid, core)
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        return process


@contextmanager
def servers() -> Iterator[Servers]:
    """Start what a run needs, and end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder, ExitStack() as stack:
        yield Servers(stack, Path(folder))


def _pin(pid: int, core: int) -> None:
    """Keep a process on one core, with the processes that it starts from now on."""
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(pid, {core})
