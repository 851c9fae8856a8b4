"""The place of an IP address, from a GeoIP file of the operator (extra ``aiosess[geoip]``)."""

import os
from typing import Any

from aiosess._client.device import clean
from aiosess.errors import ConfigError

_LONGEST_PLACE = 80  # characters


class GeoIPFile:
    """A GeoLite2 or GeoIP2 file of the kind City or Country, or another file of that form."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """
        Open the file.

        Raises:
            ConfigError: geoip2 is not installed, or the file is unusable.

        """
        try:
            import geoip2.database  # noqa: PLC0415 - an extra, needed with a file only
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

    def find_place(self, address: str | None, language: str) -> str | None:
        """Return "City, Country", or the part that the file knows; None if it knows neither."""
        try:
            found = self._look_up(address)
        except Exception:  # noqa: BLE001 - the file may hold anything; the page works without a place
            return None
        parts = [getattr(found, kind, None) for kind in ("city", "country")]
        names = [part.names.get(language) or part.names.get("en") for part in parts if part is not None]
        return clean(", ".join(str(name) for name in names if name), _LONGEST_PLACE) or None

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
