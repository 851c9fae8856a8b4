"""
The devices page: where somebody is signed in, and how to end it. Jinja lives in this room only.

::

    aiosess.setup_devices(app)      # GET /account/devices

It is HTML first and complete without scripts; the same routes speak JSON (``openapi.json`` beside the page describes
it), and a small script keeps an open page up to date. Whoever can see the page can end one session or all; ending
others needs a recent proof of who they are (ASVS 5.0, 7.5.2).
"""

from aiosess._web.redirects import local_path
from aiosess.devices.setup import device_list, setup_devices

__all__ = ("device_list", "local_path", "setup_devices")
