"""What an operator has to know of is in the log, with a hook or without."""

import logging
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from aiosess import events
from aiosess._event_log import TEXTS, log_events
from aiosess._log_limit import LogLimit
from aiosess._signals import Signals
from aiosess.events import Origin

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def origin(name: str) -> Origin:
    """Return where a request came from, with a device of this name."""
    return Origin(ip="203.0.113.9", user_agent="Agent/1.0 (private)", device_name=name, device_type="unknown")


def made(kind: type[events.Event], **details: Any) -> events.Event:
    """Return an event of a kind, of a session if it is about one."""
    if issubclass(kind, events.SessionEvent):
        session = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
        details |= {"session_id": session, "user_id": "user-private", "origin": origin("Firefox on Linux")}
        details |= {"created_at": NOW, "last_active_at": NOW}
    return kind(at=NOW, **details)


CURL, SAFARI = origin("curl"), origin("Safari on iOS")
IMPORTANT = {
    events.ReuseDetected: ({"presenter": CURL, "other": SAFARI}, "'curl' sent a replaced token, 'Safari on iOS' had"),
    events.OldSecretPresented: ({"presenter": CURL}, "'curl' sent a secret that rotate() had replaced"),
    events.WentBack: ({}, "the database is older than a token"),
    events.FingerprintChanged: ({"presenter": CURL}, "opened with 'Firefox on Linux' was used with 'curl'"),
    events.CookieConflicted: ({"presenter": CURL}, "a request of 'curl' carried two different session cookies"),
}


@pytest.fixture
def limit() -> LogLimit:
    """Return the limit of these tests' log."""
    return LogLimit()


@pytest.fixture
def signals(limit: LogLimit) -> Signals:
    """Return signals whose events are logged."""
    signals = Signals()
    log_events(signals, limit)
    return signals


@pytest.mark.threat("LOG-04")
@pytest.mark.parametrize("kind", IMPORTANT)
def test_important_event_is_a_warning(
    kind: type[events.Event], signals: Signals, caplog: pytest.LogCaptureFixture
) -> None:
    """A theft, a restored database, another browser and a planted cookie are a line each, without ids or addresses."""
    details, expected = IMPORTANT[kind]
    signals.happened.send(made(kind, **details))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("aiosess", logging.WARNING)
    line = record.getMessage()
    assert line.startswith(f"{kind.__name__}: ")
    assert expected in line
    assert line.isprintable()
    assert not [private for private in ("01890a5d", "private", "203.0.113", "Agent") if private in line]


def test_every_important_event_is_tried_here() -> None:
    """These tests cover all that is logged."""
    assert set(IMPORTANT) == set(TEXTS)


def test_everyday_events_are_not_logged(signals: Signals, caplog: pytest.LogCaptureFixture) -> None:
    """Sign-ins and endings are no warnings."""
    caplog.set_level(logging.DEBUG)
    signals.happened.send(made(events.Created))
    signals.happened.send(made(events.Revoked, reason="logout"))
    signals.happened.send(made(events.AllRevoked))
    assert not caplog.records


@pytest.mark.threat("LOG-02")
def test_each_kind_has_ten_lines_a_minute(signals: Signals, limit: LogLimit, caplog: pytest.LogCaptureFixture) -> None:
    """Of many events of a kind ten are lines; then one line says how many more there were, and it begins again."""
    changed, went_back = made(events.FingerprintChanged, presenter=CURL), made(events.WentBack)
    for _ in range(1000):
        signals.happened.send(changed)
    signals.happened.send(went_back)
    assert len(caplog.records) == 11
    assert "WentBack" in caplog.records[-1].getMessage()
    limit.start_minute()
    assert caplog.records[-1].getMessage() == (
        "not told one by one since a minute ago: FingerprintChanged in the log (990 times)"
    )
    signals.happened.send(changed)
    limit.start_minute()
    limit.start_minute()
    assert len(caplog.records) == 13
