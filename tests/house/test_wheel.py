"""The wheel: it has every file of the package, and an application starts from it on an empty database."""

import asyncio
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates" / "aiosess"

# Makes the tables, signs in, sees who that is, and reads the page; for an interpreter that has the wheel only.
PROGRAM = """
import asyncio, sys
from pathlib import Path
from aiohttp import ClientSession, CookieJar, web
import aiosess

dsn, installed = sys.argv[1:]
assert Path(aiosess.__file__).is_relative_to(installed), aiosess.__file__

async def sign_in(request):
    await request["sessions"].authenticate("alice")
    return web.Response()

async def main():
    app = web.Application()
    aiosess.setup(app, secret="a-secret-for-tests-0123456789-abcdefghijk", dsn=dsn)
    aiosess.setup_devices(app)
    app.router.add_post("/", sign_in)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    root = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with ClientSession(cookie_jar=CookieJar(unsafe=True, treat_as_secure_origin=root)) as client:
        async with client.post(root) as response:
            assert response.status == 200, response.status
        async with client.get(root + "/account/devices") as response:
            assert response.status == 200, response.status
            assert "This device" in await response.text()
    assert await app[aiosess.STORE].revoke_user("alice") == 1
    await app[aiosess.STORE].revoke_all()
    await app[aiosess.STORE].sweep()
    await runner.cleanup()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout."""
    folder = Path(tmp_path_factory.mktemp("wheel"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    """Modules, .sql files, assets, templates and py.typed are in the wheel as in the checkout; nothing else is."""
    package = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for path in (ROOT / "aiosess").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    templates = {f"aiosess/templates/{path.name}": path.read_bytes() for path in TEMPLATES.iterdir()}
    with ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert "aiosess/py.typed" in packed
    assert packed == package | templates


async def test_an_application_starts_from_the_wheel(wheel: Path, empty_dsn: str, tmp_path: Path) -> None:
    """Installed away from the checkout it makes its tables in an empty database, signs in and shows the page."""
    installed = tmp_path / "site"
    with ZipFile(wheel) as archive:
        archive.extractall(installed)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", PROGRAM, empty_dsn, str(installed)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
