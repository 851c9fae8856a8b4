"""What ``make`` says before there is an environment."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("version", ["2, 7, 18", "3, 6, 0", "3, 10, 13"])
def test_old_python_is_told(version: str, tmp_path: Path) -> None:
    """With a Python that is too old, make says what is needed and what to do, and leaves nothing behind."""
    old = tmp_path / "python"
    pretend = f"import sys; sys.version_info = ({version}, 'final', 0); exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{pretend}" "$2"\n')
    old.chmod(0o700)
    command = ["make", "demo", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode
    line = done.stderr.splitlines()[0]
    number = version.replace(", ", ".")
    assert line == f"aiosess needs Python 3.11 or newer; this is {number}. Give PYTHON=python3.12"
    assert list(tmp_path.iterdir()) == [old]
