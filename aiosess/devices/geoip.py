"""Where an address is, by a GeoIP database that the operator names: ``aiosess[geoip]``."""

import os
from typing import Any

from aiosess._client.device import clean
from aiosess.errors import ConfigError

_LONGEST = 80  # characters


class Places:
    """Looks up addresses in a GeoLite2 or GeoIP2 file, City or Country, or in one of that form."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """
        Open the file.

        Raises:
            ConfigError: geoip2 is not installed, or the file cannot be used.

        """
        try:
            import geoip2.database  # noqa: PLC0415 - an extra: who names no file need not have it
        except ImportError as error:
            message = "geoip: needs the package geoip2: install aiosess[geoip]"
            raise ConfigError(message) from error
        try:
            self._reader = geoip2.database.Reader(os.fspath(path))
        except (OSError, ValueError, RuntimeError) as error:
            message = f"geoip: {os.fspath(path)!r} cannot be used: {error}"
            raise ConfigError(message) from error
        self._look_up: Any = (
            self._reader.city if "City" in self._reader.metadata().database_type else self._reader.country
        )

    def place(self, address: str | None, language: str) -> str | None:
        """Return "City, Country" as far as it is known, None when it is not."""
        try:
            found = self._look_up(address)
        except Exception:  # noqa: BLE001 - the file is not ours: whatever is in it, the page goes on without a place
            return None
        parts = [getattr(found, kind, None) for kind in ("city", "country")]
        names = [part.names.get(language) or part.names.get("en") for part in parts if part is not None]
        return clean(", ".join(str(name) for name in names if name), _LONGEST) or None

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
