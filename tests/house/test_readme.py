"""The application in the README works, and the README explains what it needs."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.world.site import visit

OURS = {"Sec-Fetch-Site": "same-origin"}  # browsers send it with a form of the same site
README = Path(__file__).parent.parent.parent / "README.md"


async def test_readme_application_signs_in(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application in the README accepts the right name and password only."""
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("AIOSESS_SECRET", "a-secret-for-the-readme-0123456789")
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert code is not None
    module = ModuleType("readme")
    exec(code[1], module.__dict__)  # noqa: S102 - the code comes from our own README
    async with visit(module.app) as site:
        browser = await site.browser()
        assert "<form" in await (await browser.get("/")).text()
        right = {"name": "ada", "password": "correct horse battery staple"}
        assert (await browser.post("/login", data=right, headers={"Sec-Fetch-Site": "cross-site"})).status == 403
        for wrong in (right | {"password": "wrong"}, right | {"name": "eve"}):
            assert (await browser.post("/login", data=wrong, headers=OURS)).status == 403
        assert (await browser.post("/login", data=right, headers=OURS)).status == 303
        assert await (await browser.get("/")).text() == "hello ada"


def test_readme_is_short() -> None:
    """The README has 80 to 120 lines."""
    assert 80 <= len(README.read_text().splitlines()) <= 120


def test_readme_says_how_to_get_started() -> None:
    """The README explains each package and each variable of its application before the code."""
    before, _, after = README.read_text().partition("```python\n")
    needed = re.findall(r'os\.environ\["(\w+)"\]', after.partition("```")[0])
    assert needed
    for variable in needed:
        assert f"export {variable}=" in before
    assert "pip install . argon2-cffi" in before
