"""Values that somebody may write into a session's row by hand, and that aiosess cannot read."""

from typing import Final

import asyncpg

# Every column that is more than a text, a number or a truth value, with what PostgreSQL takes and Python does not.
UNREADABLE: Final = {
    "an entry is no pair": "retired = '[1]'",
    "no list": "retired = 'null'",
    "no instant in a pair": """retired = '[["token", null]]'""",
    "an instant too large": """retired = '[["token", 1e400]]'""",
    "nested too deeply": "retired = (repeat('[', 2000) || repeat(']', 2000))::jsonb",
    "an infinite instant": "promoted_at = 'infinity'",
    "an instant before all": "authenticated_at = '-infinity'",
    "an instant of the year 20000": "created_at = '20000-01-01'",
    "an instant before Christ": "created_at = '0044-03-15 BC'",
    "data that is no object": "data = '[]'",
    "no data": "data = 'null'",
    "an optional instant": "mint_until = '20000-01-01'",
}


async def spoil(pg: asyncpg.Connection, values: str, where: str = "user_id = 'ada'") -> None:
    """Write such values into a user's rows."""
    done = await pg.execute(f"update aiosess_sessions set {values} where {where}")  # noqa: S608 - a test wrote them
    assert done != "UPDATE 0"
