"""Each requirement in requirements.txt has a test that carries its id, or stands under NOT YET with the reason."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
LISTED, _, NOT_YET = (TESTS / "requirements.txt").read_text(encoding="utf-8").partition("\nNOT YET\n")


def lines(text: str) -> list[str]:
    """Return the lines that are neither empty nor comments."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def marked() -> Iterator[tuple[str, str]]:
    """Give each id that a `threat` marker names, and where."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.threat":
                for argument in node.args:
                    assert isinstance(argument, ast.Constant), f"{path.name}:{node.lineno}: an id is plain text"
                    yield str(argument.value), f"{path.name}:{node.lineno}"


SHOWN = dict(marked())
IDS = [line.split()[0] for line in lines(LISTED)]
LATER = [line.split()[0] for line in lines(NOT_YET)]


@pytest.mark.parametrize("requirement", IDS)
def test_requirement_has_a_test(requirement: str) -> None:
    """At least one test shows the requirement."""
    assert requirement in SHOWN


@pytest.mark.parametrize("requirement", LATER)
def test_not_yet_is_not_yet(requirement: str) -> None:
    """A requirement that has got a test no longer stands under NOT YET."""
    assert requirement not in SHOWN, f"{SHOWN[requirement]} shows it: move it up"


def test_markers_name_requirements() -> None:
    """No marker names an id that is not listed."""
    assert not {requirement: where for requirement, where in SHOWN.items() if requirement not in {*IDS, *LATER}}


def test_requirements_are_listed_once_with_their_text() -> None:
    """Each id has its form, occurs once and says what is required; one under NOT YET also says why."""
    assert len({*IDS, *LATER}) == len(IDS) + len(LATER)
    assert all(re.fullmatch(r"[A-Z]{2,3}-\d\d \S.{5,}", line) for line in lines(LISTED))
    assert all(re.fullmatch(r"[A-Z]{2,3}-\d\d [^|]{5,} \| \S[^|]{5,}", line) for line in lines(NOT_YET))
