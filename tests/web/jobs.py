"""What the tests of SessionManager share."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from aiosess import SessionManager
from aiosess._row import Row
from tests.world.errands import Job
from tests.world.site import Site
from tests.world.waiting import Gate

MINUTE = timedelta(minutes=1)


Value = Any  # of the session's data, or what a method returned


def job(call: Callable[[SessionManager], Value]) -> Job:
    """Make an errand of a plain call."""

    async def run(sessions: SessionManager) -> Value:
        return call(sessions)

    return run


DEEP: Value = 1


for _ in range(40):
    DEEP = [DEEP]


class SlowWrite:
    """Holds one call of set() until the gate is open, before it is made ("delayed") or before its answer ("late")."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hold what sets these keys."""
        self.gate = Gate()
        self._patch = site.installation.rows.patch
        monkeypatch.setattr(site.installation.rows, "patch", self._hold)

    async def _hold(self, session_id: UUID, values: str) -> Row | None:
        if '"delayed"' in values:
            await self.gate.wait()
        row = await self._patch(session_id, values)
        if '"late"' in values:
            await self.gate.wait()
        return row
