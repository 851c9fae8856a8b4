"""The demo of aiosess: a small site with accounts, a notebook kept in the session, and a devices page."""
