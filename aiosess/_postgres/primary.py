"""Whether a connection leads to the primary: a standby's rows may be old, and it can end no session."""

from typing import Any

import asyncpg


class NotPrimary(asyncpg.ReadOnlySQLTransactionError):
    """The server that was reached can only read; a connection to it counts as lost."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("the server can only read")


def looks_read_only(connection: Any) -> bool:  # noqa: ANN401 - of the pool or none: the two share no class
    """Say whether the server has told that it can only read; PostgreSQL tells each change (since version 14)."""
    return getattr(connection.get_settings(), "in_hot_standby", None) == "on"


async def require_primary(connection: Any) -> None:  # noqa: ANN401 - of the pool or none: the two share no class
    """
    Ask the server whether it can write.

    Raises:
        NotPrimary: it cannot.

    """
    if await connection.fetchval("select pg_catalog.pg_is_in_recovery()"):
        raise NotPrimary


async def refuse_standby(connection: Any) -> None:  # noqa: ANN401 - of the pool or none: the two share no class
    """
    Do the same, but ask only where the server has told that it can only read.

    It is asked because PgBouncer repeats what it was told when it connected first; the server may be promoted since.
    """
    if looks_read_only(connection):
        await require_primary(connection)
