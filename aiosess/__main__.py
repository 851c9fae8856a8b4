"""``python -m aiosess``: the command line."""

from aiosess.cli.main import main

if __name__ == "__main__":  # pragma: no branch - no module imports it
    main()
