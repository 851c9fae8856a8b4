"""The records of events and sessions: their fields, and the values that a repr must not show."""

import dataclasses
import inspect
import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args, get_type_hints
from uuid import UUID

import pytest

from aiosess import events
from aiosess._row import Retired, Row, retired_from_json, session_of
from aiosess.events import Event, Origin, SessionEvent
from aiosess.session import Session

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)

ROW = Row(
    id=UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    user_id="alice@example.org",
    secret_hash=b"secret-hash-private",
    version=3,
    token_id="token-id-private",
    parent_id="parent-id-private",
    promoted_at=NOW,
    settled_at=None,
    mint_until=None,
    holder=None,
    promoted_by=None,
    holder_until=None,
    retired=(Retired("retired-private", 1.5),),
    revision=9,
    ip="198.51.100.7",
    user_agent="Agent/1.0 (private)",
    device_name="Firefox on Linux",
    device_type="desktop",
    fingerprint="0123456789abcdef",
    data='{"cart": ["book-private"], "n": 1}',
    authenticated_at=NOW,
    created_at=NOW,
    last_active_at=LATER,
    expires_at=NOW + timedelta(days=1),
    ends_at=NOW + timedelta(days=2),
    remember=True,
    is_presented=True,
    secret_replaced_at=None,
)
ORIGIN = Origin(ip="203.0.113.9", user_agent="Other/2.0 (private)", device_name="curl", device_type="unknown")
PRIVATE = (
    *(str(ROW.id), ROW.id.hex, ROW.user_id, "private", "198.51.100.7", "203.0.113.9", "Agent", "Other", "book", "cart"),
)

DETAILS: dict[type[Event], dict[str, Any]] = {
    events.Created: {},
    events.NewDevice: {},
    events.Rotated: {"cause": "requested"},
    events.Revoked: {"reason": "logout"},
    events.AllRevoked: {},
    events.Evicted: {},
    events.Expired: {},
    events.ReuseDetected: {"presenter": ORIGIN, "other": ORIGIN},
    events.WentBack: {},
    events.OldSecretPresented: {"presenter": ORIGIN},
    events.FingerprintChanged: {"presenter": ORIGIN},
    events.CookieConflicted: {"presenter": ORIGIN},
}
KINDS = [
    kind
    for _, kind in inspect.getmembers(events, inspect.isclass)
    if issubclass(kind, Event) and kind not in (Event, SessionEvent)
]


def made(kind: type[Event]) -> Event:
    """Return an event of a kind for ROW."""
    if issubclass(kind, SessionEvent):
        return kind.of(ROW, LATER, **DETAILS[kind])
    return kind(at=LATER, **DETAILS[kind])


def test_every_kind_is_tried_here() -> None:
    """These tests cover every kind of event."""
    assert set(KINDS) == set(DETAILS)


@pytest.mark.threat("LOG-01")
@pytest.mark.parametrize("kind", KINDS)
def test_event_may_be_logged(kind: type[Event]) -> None:
    """An event's repr shows its kind and details, and no id, address, User-Agent or data."""
    shown = repr(made(kind))
    assert shown.startswith(f"{kind.__name__}(")
    assert not [private for private in PRIVATE if private in shown]
    for name in ("cause", "reason"):
        assert name not in DETAILS[kind] or f"{name}={DETAILS[kind][name]!r}" in shown


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, SessionEvent)])
def test_event_tells_of_its_session(kind: type[SessionEvent]) -> None:
    """An event has the fields that a message to the user needs, from the session's row."""
    event = kind.of(ROW, LATER, **DETAILS[kind])
    assert (event.at, event.session_id, event.user_id) == (LATER, ROW.id, ROW.user_id)
    assert (event.created_at, event.last_active_at) == (ROW.created_at, ROW.last_active_at)
    assert (event.origin.ip, event.origin.user_agent) == (ROW.ip, ROW.user_agent)
    assert (event.origin.device_name, event.origin.device_type) == (ROW.device_name, ROW.device_type)
    assert {name: getattr(event, name) for name in DETAILS[kind]} == DETAILS[kind]


@pytest.mark.parametrize("kind", [*KINDS, Origin])
def test_event_is_typed_and_frozen(kind: type[Any]) -> None:
    """Each field has a precise type and is a keyword, and no hook can change it for the next hook."""
    hints = get_type_hints(kind)
    assert not [field.name for field in dataclasses.fields(kind) if hints[field.name] in (Any, object, dict)]
    assert all(field.kw_only for field in dataclasses.fields(kind))
    event = ORIGIN if kind is Origin else made(kind)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, dataclasses.fields(kind)[0].name, None)


@pytest.mark.parametrize("kind", KINDS)
def test_event_has_no_unknown_details(kind: type[Event]) -> None:
    """A kind of event refuses a detail that it does not have, and the lack of one that it has."""
    with pytest.raises(TypeError):
        kind(at=LATER, **DETAILS[kind], more=1)  # type: ignore[call-arg]  # the test is that this fails
    if issubclass(kind, SessionEvent):
        with pytest.raises(TypeError):
            kind.of(ROW, LATER, **DETAILS[kind], more=1)
        if DETAILS[kind]:
            with pytest.raises(TypeError):
                kind.of(ROW, LATER)


def test_reasons_are_the_operations() -> None:
    """The reasons of a revocation are the operations that end sessions."""
    assert get_args(get_type_hints(events.Revoked)["reason"]) == (
        *("login", "logout", "logout_all", "logout_other", "revoke", "revoke_user", "fingerprint"),
    )


# Sessions and rows


@pytest.mark.threat("LOG-01")
def test_records_may_be_logged() -> None:
    """The repr of a session or a row shows no id, address, data or part of a token."""
    for record in (session_of(ROW), ROW):
        shown = repr(record)
        assert "Firefox on Linux" in shown
        assert not [private for private in PRIVATE if private in shown]


def test_session_has_what_an_application_may_see() -> None:
    """A session has the public fields of its row, and no field of its token."""
    session = session_of(ROW, is_current=True)
    names = [field.name for field in dataclasses.fields(Session)]
    assert names == [
        *("id", "user_id", "ip", "user_agent", "device_name", "device_type", "data", "created_at", "last_active_at"),
        *("authenticated_at", "expires_at", "is_current"),
    ]
    for name in names[:-1]:
        assert getattr(session, name) == (json.loads(ROW.data) if name == "data" else getattr(ROW, name))
    assert session.is_current
    assert not session_of(ROW).is_current


@pytest.mark.threat("SES-13")
def test_session_data_is_its_own() -> None:
    """An application cannot change the mapping, and a change inside it reaches no other session object."""
    first, second = session_of(ROW), session_of(ROW)
    with pytest.raises(TypeError):
        first.data["cart"] = []  # type: ignore[index]  # the test is that this fails
    first.data["cart"].append("pen")
    assert second.data == {"cart": ["book-private"], "n": 1}
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.user_id = "mallory"  # type: ignore[misc]  # the test is that this fails


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", ()),
        ("[ ]", ()),
        ('[["a", 1767225600.123456]]', (Retired("a", 1767225600.123456),)),
        ('[["a", 1], ["b", 2.5]]', (Retired("a", 1), Retired("b", 2.5))),
    ],
)
def test_retired_tokens_are_read(text: str, expected: tuple[Retired, ...]) -> None:
    """retired_from_json() keeps the order of the retired tokens."""
    assert retired_from_json(text) == expected
