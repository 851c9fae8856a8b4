"""
Nobody honest is logged out, and no thief goes on, under all faults at once; the nightly run takes ten minutes for each.

A short run turns faster, so that each session rotates several times in it; the overlap, to which the faults keep, is
the same. On a machine that is busy with other things, requests may take longer than the overlap allows. A logout proves
nothing then, so there is a second run with longer spans. ``python -m bench.soak`` is the same soak, with numbers and a
picture.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.soak import Faults, Report, Soak, Spans

NIGHTLY = os.environ.get("AIOSESS_NIGHTLY") == "1"
SPANS = Spans() if NIGHTLY else Spans(rotate_every=2.5, late_window=2)
# So often that none of them can stay away in a short run.
OFTEN = Faults(process_life=2, delay=0.2, disk_lag=0.3, crash_within=0.3, crash_with_new_cookie=0.4)
FAULTS = Faults() if NIGHTLY else OFTEN
SECONDS = 600 if NIGHTLY else 12
BROWSERS = 200 if NIGHTLY else 40
PROCESSES = 3 if NIGHTLY else 2
THEFTS_PER_SECOND = 0.6 if NIGHTLY else 1.5
LONGER = 5  # times as long are the spans of the second run
# Fewer than that, and the soak shows nothing.
LEAST = {
    "responses lost": 1,
    "responses out of order": 1,
    "crashes that took a cookie back": 1,
    "crashes that brought an old session cookie back": 1,
    "processes killed": 1,
    "Rotated": BROWSERS + 1,
}

pytestmark = pytest.mark.timeout(24 * 3600 if NIGHTLY else 1800)  # both runs, on a busy machine


async def soaked(dsn: str, folder: Path, thefts_per_second: float, record: Callable[[str, object], None]) -> Report:
    """Run a soak and keep its numbers; if the machine was too slow for its complaints to count, run a longer one."""
    for factor in (1, LONGER):
        spans = SPANS.times(factor)
        soak = Soak(dsn, folder / f"journal{factor}", spans=spans, faults=FAULTS, processes=PROCESSES)
        report = await soak.run(
            browsers=BROWSERS, seconds=factor * SECONDS, thefts_per_second=thefts_per_second, least=LEAST
        )
        record("soak", dict(report.counts | report.verdicts))
        print(report)  # noqa: T201 - pytest shows it when the test fails
        if report.is_clean or not report.is_late:
            break
    return report


@pytest.mark.threat("ROT-03")
@pytest.mark.threat("ROT-07")
@pytest.mark.threat("ROT-12")
async def test_faults_log_nobody_out(dsn: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Lost and late responses, crashes of browsers and of processes, all at once, log nobody out and raise no alarm."""
    report = await soaked(dsn, tmp_path, 0, record_property)
    assert not report.logouts, "\n\n".join(report.logouts)
    assert (report.alarms, report.wrong) == (0, [])
    happened = report.counts | report.verdicts
    assert not Counter(LEAST) - happened, "too little of it happened for the soak to show something"


@pytest.mark.threat("ROT-04")
@pytest.mark.threat("ROT-12")
async def test_every_theft_in_which_both_go_on_is_found(
    dsn: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Under the same faults, each copied jar with which the thief and the owner go on ends the session for both."""
    report = await soaked(dsn, tmp_path, THEFTS_PER_SECOND, record_property)
    assert report.thefts
    assert report.unseen == []
    assert report.unexplained == []
    assert not report.logouts, "\n\n".join(report.logouts)
    assert (report.alarms, report.wrong) == (0, [])
    assert report.verdicts["ReuseDetected"] == len(report.thefts) - len(report.untold)
