"""How long an open connection goes on with its token: every kind of token, for the holder and for another client."""

from datetime import timedelta
from math import inf
from typing import Any

import pytest

from aiosess._client.caller import client_digest
from aiosess._token.open_token import COOKIE_ARRIVES_WITHIN, dies_at
from aiosess._token.token import Token
from aiosess.config import SessionConfig
from tests.world.tokens import OTHER_HASH, at, retired, row, token

CONFIG = SessionConfig(late_window=timedelta(seconds=600))
LOGIN = client_digest("192.0.2.1", "browser")
OPENED_BY = {"ip": "192.0.2.1", "user_agent": "browser"}
RETIRED = retired(parent=0, early=-300)


@pytest.mark.threat("WSO-02")
@pytest.mark.parametrize(
    ("opened_with", "ends_at"),
    [
        pytest.param(token("current"), inf, id="current"),
        pytest.param(token("next", 6, "current"), inf, id="successor"),
        pytest.param(token("far", 9, "unknown"), inf, id="ahead of a restored database"),
        pytest.param(token("parent", 4, "early"), at(600).timestamp(), id="just retired"),
        pytest.param(token("early", 3, None), at(300).timestamp(), id="retired before"),
        pytest.param(token("ancient", 2, None), -inf, id="forgotten"),
        pytest.param(token("other"), -inf, id="a sibling that never counted"),
        pytest.param(token("current", secret_hash=OTHER_HASH), -inf, id="another secret"),
        pytest.param(token("next", 6, "current", OTHER_HASH), -inf, id="another secret, ahead"),
    ],
)
def test_token_of_another_client_ends(opened_with: Token, ends_at: float) -> None:
    """Another client than the holder keeps what it opened until its token was retired for late_window."""
    assert dies_at(row(retired=RETIRED, **OPENED_BY), opened_with, "somebody", CONFIG) == ends_at


@pytest.mark.threat("WSO-02")
@pytest.mark.parametrize("version", [1, 4, 5, 6])
@pytest.mark.parametrize("token_id", ["current", "parent", "early", "ancient", "next"])
@pytest.mark.parametrize(
    ("client", "changes"),
    [
        (LOGIN, {}),
        ("holder", {"holder": "holder"}),
        ("new", {"holder": "old", "promoted_by": "new", "settled_at": at(60)}),
        ("old", {"holder": "old", "promoted_by": "new"}),
    ],
)
def test_holder_goes_on(client: str, changes: dict[str, Any], token_id: str, version: int) -> None:
    """What the session's own client opened goes on for as long as the secret is the same, whatever became current."""
    opened_with = token(token_id, version)
    assert dies_at(row(retired=RETIRED, **OPENED_BY, **changes), opened_with, client, CONFIG) == inf


@pytest.mark.threat("WSO-02")
@pytest.mark.parametrize(
    ("client", "changes"),
    [
        (LOGIN, {"holder": "holder"}),
        ("old", {"holder": "old", "promoted_by": "new", "settled_at": at(60)}),
        ("new", {"holder": "old", "promoted_by": "new"}),
    ],
)
def test_only_the_holder_goes_on(client: str, changes: dict[str, Any]) -> None:
    """A client that was the holder, or is not yet, is another client."""
    opened_with = token("parent", 4, "early")
    assert dies_at(row(retired=RETIRED, **OPENED_BY, **changes), opened_with, client, CONFIG) == at(600).timestamp()


@pytest.mark.threat("WSO-02")
def test_holder_has_a_second_to_get_the_new_cookie() -> None:
    """After rotate() the owner's other pages come back with the new cookie, which must have arrived by then."""
    opened_with = token("current", secret_hash=OTHER_HASH)
    assert dies_at(row(**OPENED_BY), opened_with, LOGIN, CONFIG) == at(COOKIE_ARRIVES_WITHIN).timestamp()
