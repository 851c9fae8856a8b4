"""Bugs that are put into the protocol, so that a search has something to find."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from aiosess._row import Row
from aiosess._token import rotation
from aiosess._token.rotation import Meaning, Verdict

Seed = Callable[[pytest.MonkeyPatch], None]


def judging_in(module: ModuleType, *meanings: Meaning, **to: Any) -> Seed:
    """Take some verdicts for others, where a module calls judge()."""

    def seed(patch: pytest.MonkeyPatch) -> None:
        judge = rotation.judge

        def misjudge(row: Row, *others: Any) -> Verdict:
            verdict = judge(row, *others)
            return replace(verdict, **to) if verdict.meaning in meanings else verdict

        patch.setattr(module, "judge", misjudge)

    return seed
