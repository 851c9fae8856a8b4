"""A primary and a streaming replica of it, on Unix sockets."""

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

from aiosess.embedded import EmbeddedPostgres
from tests.world.waiting import eventually

SETTINGS = {"fsync": "off", "max_connections": "50"}


class Pair:
    """
    Two servers, of which the second follows the first.

    Attributes:
        primary: The one that can write at first.
        standby: The other one.

    """

    def __init__(self, folder: Path) -> None:
        """Start both."""
        self.primary = EmbeddedPostgres(folder / "a", settings=SETTINGS)
        self._copy(folder / "b")
        self.standby = EmbeddedPostgres(folder / "b", settings=SETTINGS)

    @property
    def dsn(self) -> str:
        """A DSN of both, the primary first."""
        return self.dsn_of(self.primary, self.standby)

    @staticmethod
    def dsn_of(*servers: EmbeddedPostgres) -> str:
        """Return a DSN of several servers."""
        hosts = ",".join(quote(str(server.host)) for server in servers)
        return f"postgresql://postgres@/postgres?host={hosts}"

    async def caught_up(self) -> None:
        """Wait until the standby has replayed what the primary has written."""
        primary = await asyncpg.connect(self.primary.dsn)
        reached = await primary.fetchval("select pg_current_wal_lsn()::text")
        await primary.close()
        standby = await asyncpg.connect(self.standby.dsn)
        await eventually(lambda: standby.fetchval("select pg_last_wal_replay_lsn() >= $1::text::pg_lsn", reached))
        await standby.close()

    async def promote(self) -> None:
        """Let the standby write, and the first server, which has stopped, come back as a standby of nobody."""
        await on(self.standby, "select pg_promote()")
        signal = self.primary.directory / "data" / "standby.signal"
        signal.touch()
        await asyncio.to_thread(self.primary.start)

    def stop(self) -> None:
        """Stop both."""
        self.standby.stop()
        self.primary.stop()

    def _copy(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        owner = (self.primary.directory / "data").stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
        command: list[Any] = [self.primary.bin / "pg_basebackup", "-R", "-D", folder / "data", "--dbname"]
        identity: Any = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        subprocess.run(
            [*command, self.primary.dsn, "--checkpoint=fast"], check=True, cwd=folder, capture_output=True, **identity
        )


async def on(server: EmbeddedPostgres, statement: str) -> None:
    """Run a statement on a server."""
    connection = await asyncpg.connect(server.dsn)
    await connection.execute(statement)
    await connection.close()
