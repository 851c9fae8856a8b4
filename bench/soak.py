"""
``python -m bench.soak``: ten minutes of every fault at once, with thieves if they are asked for.

The soak itself, and why it may ask for 0 logouts, is in ``tools/soak.py``. Each run replaces its own section of
``bench/results/soak.md``; one with thieves also draws ``theft.png``. The exit code is 1 when somebody honest was logged
out, or a thief went unseen.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from aiosess.embedded import EmbeddedPostgres
from bench.servers import HERE
from tools.soak import Faults, Report, Soak, Spans

RESULTS = HERE / "results"
HONEST, LONGER, THIEVES = "Honest browsers", "Honest browsers, longer spans", "With thieves"
THEFTS_PER_BROWSER = 0.003  # a second


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, and write down what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--browsers", type=int, default=200)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--disk-lag", type=float, default=Faults.disk_lag, help="of a crashed browser, in overlaps")
    parser.add_argument("--times", type=float, default=1, help="make overlap, late window and the rest so much longer")
    parser.add_argument("--thieves", action="store_true")
    options = parser.parse_args(arguments)
    spans, faults = Spans().times(options.times), Faults(disk_lag=options.disk_lag).times(options.times)
    report = asyncio.run(_soak(options, spans, faults))
    for story in report.logouts:
        print(f"An honest logout:\n{story}\n")
    for wrong in report.wrong[:10]:
        print(wrong)
    text = _table(report, options, spans, faults)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    honest = HONEST if options.times == 1 else LONGER
    _replace_section(RESULTS / "soak.md", THIEVES if options.thieves else honest, text)
    if report.thefts:
        _plot(report, spans)
    return int(not report.is_clean)


async def _soak(options: argparse.Namespace, spans: Spans, faults: Faults) -> Report:
    with tempfile.TemporaryDirectory(prefix="soak") as folder, EmbeddedPostgres(Path(folder) / "pg") as server:
        journal = Path(folder) / "journal"
        soak = Soak(server.dsn, journal, spans=spans, faults=faults, processes=options.processes)
        thefts = THEFTS_PER_BROWSER * options.browsers if options.thieves else 0
        return await soak.run(browsers=options.browsers, seconds=60 * options.minutes, thefts_per_second=thefts)


def _table(report: Report, options: argparse.Namespace, spans: Spans, faults: Faults) -> str:
    verdicts, counts = report.verdicts, report.counts
    rows: dict[str, object] = {
        "requests answered": counts["requests"],
        "rotations (a token became the current one)": verdicts["Rotated"],
        **{f"{name[0].upper()}{name[1:]}": counts[name] for name in sorted(counts) if name != "requests"},
        **{f"verdict *{name}*": verdicts[name] for name in ("late", "rollback", "sibling", "ahead", "reuse")},
        "slowest request, in s": f"{report.slowest:.2f}",
        "answers that nobody should get": len(report.wrong),
        "**honest logouts**": f"**{len(report.logouts)}**",
        "**alarms without a theft**": f"**{report.alarms}**",
    }
    if report.thefts:
        times = report.detection_times
        rows["thefts in which both went on"] = len(report.thefts)
        rows["**unseen thefts**"] = f"**{len(report.unseen)}**"
        rows["thefts that ended without an alarm, a process being killed"] = len(report.untold)
        rows["the same, for no such reason"] = len(report.unexplained)
        if times:
            rows["seconds until detection: median"] = f"{median(times):.1f}"
            rows["the same: 95 of 100, longest"] = f"{times[int(0.95 * len(times))]:.1f}, {times[-1]:.1f}"
    size = f"{options.browsers} browsers, {options.processes} processes, {report.seconds / 60:.1f} minutes"
    lines = [
        f"{size}; rotate_every {spans.rotate_every:g} s, late_window {spans.late_window:g} s,",
        f"rotation_overlap {spans.rotation_overlap:g} s;",
        f"a crash brings back the jar of up to {faults.disk_lag:g} s ago; seed {report.seed}.\n",
        "| what | how many |",
        "|---|---:|",
        *(f"| {what} | {f'{value:,}' if isinstance(value, int) else value} |" for what, value in rows.items()),
    ]
    return "\n".join(lines) + "\n"


def _replace_section(path: Path, title: str, text: str) -> None:
    old = path.read_text() if path.exists() else ""
    sections = dict(part.split("\n\n", 1) for part in old.split("### ")[1:])
    sections[title] = text
    parts = [f"### {name}\n\n{sections[name].rstrip()}\n" for name in (HONEST, LONGER, THIEVES) if name in sections]
    path.write_text("\n".join(parts))


def _plot(report: Report, spans: Spans) -> None:
    from matplotlib import pyplot as plt

    times = report.detection_times
    figure, axes = plt.subplots(figsize=(8, 4.5))
    axes.step([0, *times], [100 * n / len(report.thefts) for n in range(len(times) + 1)], where="post")
    axes.set_xlabel(
        f"seconds since the theft (rotate_every {spans.rotate_every:g} s, late_window {spans.late_window:g} s)"
    )
    axes.set_ylabel(f"detected, % of {len(report.thefts)} thefts")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 101)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(RESULTS / "theft.png", dpi=100)


if __name__ == "__main__":
    sys.exit(main())
