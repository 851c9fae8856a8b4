"""Sessions grow older without a sleep: their rows move into the past."""

import sys
from time import monotonic

import asyncpg
import pytest


async def age(pg: asyncpg.Connection, seconds: float, where: str = "true", *, table: str = "aiosess_sessions") -> None:
    """Let time pass for sessions: move every instant of their rows into the past, as though they had been idle."""
    await pg.execute(
        f"""
        update {table} set
            promoted_at = promoted_at - $1 * interval '1 second',
            settled_at = settled_at - $1 * interval '1 second',
            secret_replaced_at = secret_replaced_at - $1 * interval '1 second',
            mint_until = mint_until - $1 * interval '1 second',
            holder_until = holder_until - $1 * interval '1 second',
            authenticated_at = authenticated_at - $1 * interval '1 second',
            created_at = created_at - $1 * interval '1 second',
            last_active_at = last_active_at - $1 * interval '1 second',
            expires_at = expires_at - $1 * interval '1 second',
            ends_at = ends_at - $1 * interval '1 second',
            retired = (
                select coalesce(jsonb_agg(jsonb_build_array(e->0, (e->>1)::numeric - $1)), '[]')
                from jsonb_array_elements(retired) e
            )
        where {where}
        """,  # noqa: S608 - a condition that a test wrote
        seconds,
    )


async def make_due(pg: asyncpg.Connection, where: str = "true") -> None:
    """Bring sessions to the point where the next response mints a successor."""
    await pg.execute(f"update aiosess_sessions set settled_at = now() where {where}")  # noqa: S608 - the same
    await age(pg, 3600, where)


def let_a_minute_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the process's clock forward, as though a password check had taken a minute since its request came in."""
    for name, module in list(sys.modules.items()):
        if name.startswith("aiosess.") and hasattr(module, "monotonic"):
            monkeypatch.setattr(module, "monotonic", lambda: monotonic() + 60)
