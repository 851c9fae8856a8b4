"""
The devices page: it shows users where they are signed in, and lets them end those sessions.

::

    aiosess.setup_devices(app)      # GET /account/devices

The page is HTML and works without scripts. The same routes speak JSON (``openapi.json`` beside the page describes it),
and a small script keeps an open page up to date. A user who sees the page can end their own session; to end another
one they need a recent sign-in (ASVS 5.0, 7.5.2).

Applications use the names in ``__all__``; the modules below this one are private.
"""

from aiosess._web.redirects import local_path, relative_path
from aiosess.devices.setup import device_list, setup_devices

__all__ = ("device_list", "local_path", "relative_path", "setup_devices")
