"""The hosts that a DSN names, each connected to beside the others, until one of them is the primary."""

import asyncio
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg

from aiosess._postgres.primary import refuse_standby
from aiosess.errors import ConfigError

# asyncpg tries the hosts one after the other within one timeout, so a silent one hides the others. A host gets so many
# seconds before the next one is tried too; it stays in the race, for connecting may be slow.
HEAD_START: Final = 0.5

STANDBYS: Final = {"standby", "prefer-standby", "read-only"}  # values of target_session_attrs

RawConnection = asyncpg.Connection


class Hosts:
    """Connects to the primary among the hosts of a DSN; the host that was it last is tried first."""

    def __init__(self, dsn: str) -> None:
        """
        Take a DSN with one host or several.

        Raises:
            ConfigError: the DSN asks for a standby.

        """
        self._dsns = one_by_one(dsn)

    async def connect(self, _dsn: str, **options: Any) -> RawConnection:  # noqa: ANN401 - those of asyncpg.connect()
        """
        Connect; the options are asyncpg's.

        Raises what the host raised that answered, or else the one that failed last.
        """
        running: dict[asyncio.Task[RawConnection], str] = {}
        errors: list[BaseException] = []
        ahead = list(self._dsns)
        try:
            while ahead or running:
                if ahead:
                    dsn = ahead.pop(0)
                    running[asyncio.create_task(_connect_to_primary(dsn, options))] = dsn
                done, _ = await asyncio.wait(
                    running, timeout=HEAD_START if ahead else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    error = task.exception()
                    if error is None:
                        self._prefer(running.pop(task))
                        return task.result()
                    errors.append(error)
                    del running[task]
        finally:
            await _give_up(running)
        raise next((error for error in errors if isinstance(error, asyncpg.PostgresError)), errors[-1])

    def _prefer(self, dsn: str) -> None:
        self._dsns.sort(key=lambda each: each != dsn)


def one_by_one(dsn: str) -> list[str]:
    """
    Return a DSN for each host that a DSN names; asyncpg reads everything else, passwords and certificates included.

    Raises:
        ConfigError: the DSN asks for a standby.

    """
    try:
        parts = urlsplit(dsn)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        return [dsn]  # asyncpg says what is wrong with it
    if query.get("target_session_attrs") in STANDBYS:
        message = "dsn: target_session_attrs asks for a standby, which can end no session; leave it out"
        raise ConfigError(message)
    account, at, hosts = parts.netloc.rpartition("@")
    named = hosts.split(",") if hosts else query.get("host", "").split(",")
    ports = query.get("port", "").split(",")
    if len(named) == 1 or len(ports) not in {1, len(named)}:
        return [dsn]
    dsns = []
    for number, host in enumerate(named):
        own = query | ({} if hosts else {"host": host})
        if "port" in query:
            own["port"] = ports[number % len(ports)]
        netloc = f"{account}{at}{host if hosts else ''}"
        dsns.append(urlunsplit(parts._replace(netloc=netloc, query=urlencode(own, quote_via=quote))))
    return dsns


async def _connect_to_primary(dsn: str, options: dict[str, Any]) -> RawConnection:
    connection: RawConnection = await asyncpg.connect(dsn, **options)
    try:
        await refuse_standby(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _give_up(running: dict["asyncio.Task[RawConnection]", str]) -> None:
    """Cancel connecting, and end the connections that were made meanwhile."""
    for task in running:
        task.cancel()
    for made in await asyncio.gather(*running, return_exceptions=True):
        if not isinstance(made, BaseException):
            made.terminate()
