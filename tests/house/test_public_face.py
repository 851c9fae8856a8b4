"""The public names: what ``import aiosess`` shows, and that docs/reference.md lists each of them once."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import aiosess

ROOT = Path(__file__).parent.parent.parent
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
# Programs and what needs an extra: nobody gets them by importing aiosess.
APART = {"__main__", "cli", "embedded", "pytest_plugin", "testing"}
# A subprocess starts with no other module of aiosess imported.
SHOW_NAMES = "import aiosess; print(*(name for name in dir(aiosess) if not name.startswith('_')))"


def public_modules() -> dict[str, ModuleType]:
    """Return the modules without an underscore by name; aiosess itself is the first."""
    names = [module.name for module in pkgutil.iter_modules(aiosess.__path__) if not module.name.startswith("_")]
    modules = {f"aiosess.{name}": importlib.import_module(f"aiosess.{name}") for name in names}
    return {"aiosess": aiosess} | modules


def documented() -> dict[str, dict[str, str]]:
    """Return the lines of the reference: of each module, its names and what is said of each."""
    sections = re.findall(r"^## `([\w.]+)`\n(.*?)(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    return {name: dict(re.findall(r"^- `(\w+)`: (.+)$", text, re.MULTILINE)) for name, text in sections}


def run(code: str) -> str:
    """Return what a new Python prints for some code."""
    return subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True).stdout


def test_import_shows_public_names_only() -> None:
    """After ``import aiosess`` its names are those of __all__, and the rest begins with an underscore."""
    assert sorted(run(SHOW_NAMES).split()) == sorted(aiosess.__all__)


@pytest.mark.parametrize("name", [name for name in public_modules() if name.rpartition(".")[2] not in APART])
def test_every_public_name_is_in_aiosess(name: str) -> None:
    """A name of a public module is also one of ``aiosess``, and the same object."""
    module = public_modules()[name]
    assert set(module.__all__) <= set(aiosess.__all__)
    assert all(getattr(aiosess, each) is getattr(module, each) for each in module.__all__)


def test_devices_are_there_at_once() -> None:
    """``aiosess.devices.device_list`` needs no other import before it."""
    assert run("import aiosess; print(aiosess.devices.device_list.__name__)") == "device_list\n"


def test_import_leaves_extras_alone() -> None:
    """``import aiosess`` imports nothing that only an extra or the command line needs."""
    modules = "{'aiosess.cli', 'aiosess.embedded', 'geoip2', 'psutil'}"
    assert run(f"import sys, aiosess; print({modules} & set(sys.modules))") == "set()\n"


def test_reference_lists_every_public_name() -> None:
    """docs/reference.md lists the names of each public module, and no other name."""
    own = {name: sorted(module.__all__) for name, module in public_modules().items()}
    # The names of another public module are described there.
    elsewhere = {each for name, names in own.items() if name != "aiosess" for each in names}
    modules = {name.rpartition(".")[2] for name in own}
    own["aiosess"] = sorted(set(own["aiosess"]) - elsewhere - modules)
    assert {name: sorted(lines) for name, lines in documented().items()} == own


def test_reference_describes_every_name() -> None:
    """Each name in docs/reference.md has a sentence."""
    assert all(re.match(r"[A-Z`].{10,}\.$", line) for lines in documented().values() for line in lines.values())
