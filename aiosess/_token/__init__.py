"""The token and the cookie, and what a presented token means: pure functions and records, without input or output."""
