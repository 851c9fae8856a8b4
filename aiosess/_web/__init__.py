"""Sessions in an aiohttp application: the only part that speaks aiohttp, with the pages."""
