"""A session's row as PostgreSQL has it."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from aiosess.session import DeviceType, ReadOnlyData, Session


class Retired(NamedTuple):
    """A token that was current once, and when another one replaced it."""

    token_id: str
    at: float  # seconds since the epoch, by the database's clock


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Row:
    """
    One row of ``aiosess_sessions`` as it was read; all instants are by the database's clock.

    ``data`` stays text: requests share held rows, and one of them could change
    a parsed dict. ``session_of()`` parses a new one for each caller.
    """

    id: UUID = field(repr=False)
    user_id: str = field(repr=False)
    secret_hash: bytes = field(repr=False)
    version: int
    token_id: str = field(repr=False)
    parent_id: str | None = field(repr=False)
    promoted_at: datetime
    settled_at: datetime | None
    mint_until: datetime | None
    holder: str | None = field(repr=False)
    promoted_by: str | None = field(repr=False)
    holder_until: datetime | None
    retired: tuple[Retired, ...] = field(repr=False)
    revision: int
    ip: str | None = field(repr=False)
    user_agent: str = field(repr=False)
    device_name: str
    device_type: DeviceType
    fingerprint: str
    data: str = field(repr=False)
    authenticated_at: datetime
    created_at: datetime
    last_active_at: datetime
    expires_at: datetime
    ends_at: datetime  # the absolute limit; expires_at is never later
    remember: bool
    is_presented: bool
    secret_replaced_at: datetime | None


def session_of(row: Row, *, is_current: bool = False) -> Session:
    """Return the part of a row that an application may see."""
    return Session(
        id=row.id,
        user_id=row.user_id,
        ip=row.ip,
        user_agent=row.user_agent,
        device_name=row.device_name,
        device_type=row.device_type,
        data=ReadOnlyData(json.loads(row.data)),
        created_at=row.created_at,
        last_active_at=row.last_active_at,
        authenticated_at=row.authenticated_at,
        expires_at=row.expires_at,
        is_current=is_current,
    )


def retired_from_json(text: str) -> tuple[Retired, ...]:
    """Read the row's list of retired tokens: ``[[token id, seconds since the epoch], …]``, oldest first."""
    if text == "[]":
        return ()
    entries: list[tuple[str, float]] = json.loads(text)
    return tuple(Retired(token_id, float(at)) for token_id, at in entries)
