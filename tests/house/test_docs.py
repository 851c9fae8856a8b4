"""The pages of docs/: judge() replays rotation.md and its numbers are the defaults; the glossary is complete."""

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import pytest

from aiosess._row import Row
from aiosess._token.rotation import Meaning, judge
from aiosess._token.token import Token
from aiosess._token.version_cookie import Place, at_place
from aiosess.config import SessionConfig
from tests.world.statements import Stored, rotated, written
from tests.world.tokens import FIRST, OTHER_HASH, SECRET_HASH, START, at, token

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "rotation.md").read_text(encoding="utf-8")
GLOSSARY = (DOCS / "glossary.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
TIME_LINES = {title: text for title, text in SECTIONS.items() if "sequenceDiagram" in text}
CONFIG = SessionConfig()


def table(text: str, first: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this title."""
    lines = re.findall(r"^\|(.*)\|$", text[text.index(f"\n| {first} |") :].partition("\n\n")[0], re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


def diagram(text: str, kind: str) -> str:
    """Return the Mermaid diagram of one kind."""
    found = re.search(rf"```mermaid\n({kind}.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def clock(when: datetime) -> str:
    """Write an instant as the page does: hours, minutes and seconds since the login."""
    seconds = round((when - START).total_seconds())
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def seconds(text: str) -> int:
    """Read such an instant."""
    hours, minutes, rest = map(int, text.split(":"))
    return hours * 3600 + minutes * 60 + rest


def described(row: Row | None, now: datetime) -> str:
    """Write a row as the page does."""
    if row is None:
        return "no row"
    parts = [f"`{row.token_id}` since {clock(row.promoted_at)}"]
    if row.secret_hash != SECRET_HASH:
        parts.append("new secret")
    if row.parent_id is not None:
        parts.append(f"child of `{row.parent_id}`")
    parts.append("not settled" if row.settled_at is None else f"settled {clock(row.settled_at)}")
    if row.mint_until is not None and row.mint_until > now:
        parts.append(f"leased to {clock(row.mint_until)}")
    if row.holder_until is not None and row.holder_until > now:
        parts.append(f"for its holder to {clock(row.holder_until)}")
    parts += [
        f"`{retired.token_id}` retired {clock(datetime.fromtimestamp(retired.at, START.tzinfo))}"
        for retired in row.retired
    ]
    return ", ".join(parts)


@dataclass
class Replay:
    """A session's row, its tokens by their names on the page, and which one each party holds."""

    row: Stored | None = field(default_factory=lambda: replace(FIRST, token_id="A1", holder="Owner"))
    tokens: dict[str, Token] = field(default_factory=lambda: {"A1": token("A1", 1, None)})
    holds: dict[str, str] = field(default_factory=lambda: {"Owner": "A1"})
    versions: dict[str, str] = field(default_factory=dict)  # whose version cookie names another token than that
    ever_held: set[tuple[str, str]] = field(default_factory=lambda: {("Owner", "A1")})
    history: list[tuple[int, Stored | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Remember the row of the login."""
        self.history.append((0, self.row))

    def play(self, when: int, who: str, does: str, answer: str) -> tuple[str, str, str, str]:
        """Do what one line says; return the row before, verdict, answer and holdings as the page has to show them."""
        now = at(when)
        before = described(self.row, now)
        verdict, answered = "-", "-"
        match does.split(" "):
            case ["sends", name, "with", "the", "version", "of", newest]:
                assert (self.holds[who], self.versions[who]) == (name.strip("`"), newest.strip("`"))
                meant = self.tokens[self.versions[who]]
                place = Place(meant.version, meant.id, meant.parent_id)
                verdict, answered = self._send(now, who, at_place(self.tokens[self.holds[who]], place), answer, "")
            case ["is", "killed,", "has", name, "with", "the", "version", "of", newest]:
                self._hold(who, name.strip("`"))
                self.versions[who] = newest.strip("`")
            case ["copies", name, "from", "the", "session", "store"]:
                assert ("Owner", name.strip("`")) in self.ever_held
                self._hold(who, name.strip("`"))
            case ["sends", name, *calls]:
                assert (who, name.strip("`,")) in self.ever_held, "nobody sends what they never had"
                verdict, answered = self._send(now, who, self.tokens[name.strip("`,")], answer, " ".join(calls))
            case ["copies", "the", "cookie"]:
                self._hold(who, self.holds["Owner"])
            case ["crashes,", "has", name, "again"] | ["receives", name]:
                self._hold(who, name.strip("`"))
            case ["restored", "to", moment]:
                self.row = [row for instant, row in self.history if instant <= seconds(moment)][-1]
            case _:
                pytest.fail(f"unknown words: {does}")
        self.history.append((when, self.row))
        return before, verdict, answered, ", ".join(map(self._held, self.holds))

    def _held(self, party: str) -> str:
        version = f" with the version of `{self.versions[party]}`" if party in self.versions else ""
        return f"{party} `{self.holds[party]}`{version}"

    def _send(self, now: datetime, who: str, sent: Token, answer: str, how: str) -> tuple[str, str]:
        if self.row is None:
            return "no row", "anonymous"
        verdict = judge(self.row, sent, now, CONFIG)
        says = verdict.meaning.value + ", settles" * verdict.settles + ", due" * verdict.mints
        if verdict.meaning in (Meaning.INVALID, Meaning.OUTDATED, Meaning.REUSE):
            self.row = None if verdict.meaning is Meaning.REUSE else written(self.row, sent, verdict, now)[0]
            return says, "anonymous"
        name = "".join(re.findall(r"`(.*?)`", answer))
        if how == "`rotate()`":
            self.tokens[name] = token(name, self.row.version + 1, None, OTHER_HASH)
            self.row = rotated(self.row, self.tokens[name], now, who)
        else:
            assert how in {"", "from a new network"}
            self.row, leased = written(self.row, sent, verdict, now, f"{who} {how}".strip())
            if not leased:
                return says, "accepted"
            self.tokens[name] = token(name, sent.version + 1, sent.id)
        assert ord(name[0]) - ord("A") + 1 == self.tokens[name].version, "the letter is the version"
        lost = re.findall(r" \(lost\)| \(delayed\)", answer)
        if not lost:
            self._hold(who, name)
        self.ever_held.add((who, name))
        return says, f"accepted + `{name}`{''.join(lost)}"

    def _hold(self, who: str, name: str) -> None:
        self.holds[who] = name
        self.versions.pop(who, None)
        self.ever_held.add((who, name))


def drawn(lines: list[list[str]]) -> str:
    """Return the sequence diagram of a time line."""
    parties = [
        party for party in ("Owner", "Server", "Thief") if party == "Server" or party in {line[1] for line in lines}
    ]
    text = ["sequenceDiagram", *(f"    participant {party}" for party in parties)]
    for when, who, does, _, verdict, answer, *_ in lines:
        what = f"{when} {does}".replace("`", "")
        if not does.startswith("sends"):
            text.append(f"    Note over {who}: {what}")
            continue
        arrow = "--x" if "(lost)" in answer else "--)" if "(delayed)" in answer else "-->>"
        text += [f"    {who}->>Server: {what}", f"    Server{arrow}{who}: {verdict}: {answer}".replace("`", "")]
    return "\n".join(text) + "\n"


@pytest.mark.parametrize("title", TIME_LINES)
def test_time_line_is_what_judge_says(title: str) -> None:
    """On each line the row, the verdict, the answer and what everybody then holds are those of the replay."""
    replay = Replay()
    for when, who, does, *shown, why in table(TIME_LINES[title], "at"):
        expected = replay.play(seconds(when), who, does, shown[2])
        assert (when, *shown) == (when, *expected)
        assert why


@pytest.mark.parametrize("title", TIME_LINES)
def test_diagram_is_its_table(title: str) -> None:
    """The sequence diagram of a time line shows the lines of its table, no more and no less."""
    assert diagram(TIME_LINES[title], "sequenceDiagram") == drawn(table(TIME_LINES[title], "at"))


def test_time_lines_show_every_verdict() -> None:
    """Each line of the table of verdicts occurs in some time line."""
    shown = {line[4].partition(",")[0] for text in TIME_LINES.values() for line in table(text, "at")}
    assert {meaning.value for meaning in Meaning} <= shown


def test_verdicts_are_in_their_order() -> None:
    """The page's table and its flow chart name each verdict once, in the order in which judge() decides."""
    order = [meaning.value for meaning in Meaning]
    assert [line[0].strip("`") for line in table(PAGE, "verdict")] == order
    assert re.findall(r"\[\[(\w+)\]\]", diagram(PAGE, "flowchart")) == order


def test_numbers_are_the_defaults() -> None:
    """The spans on the page are those of SessionConfig."""
    units = {"s": "seconds", "min": "minutes", "days": "days"}
    numbers = table(PAGE, "option")
    assert [line[0].strip("`") for line in numbers] == [
        *("rotate_every", "rotation_overlap", "late_window", "idle_timeout", "absolute_timeout"),
    ]
    for option, text, _ in numbers:
        amount, unit = text.split()
        assert (
            getattr(CONFIG, option.strip("`")).total_seconds()
            == int(amount) * {"seconds": 1, "minutes": 60, "days": 86_400}[units[unit]]
        )


def test_glossary_is_in_order() -> None:
    """Each word of the glossary stands there once, in the order of the alphabet."""
    words = [word.strip("*") for word, _ in table(GLOSSARY, "word")]
    assert words == sorted(set(words))


def test_glossary_has_every_verdict() -> None:
    """The glossary explains each line of the table of verdicts, and the page of rotation links to it."""
    assert {f"**{meaning.value}**" for meaning in Meaning} <= {word for word, _ in table(GLOSSARY, "word")}
    assert "](glossary.md)" in PAGE
