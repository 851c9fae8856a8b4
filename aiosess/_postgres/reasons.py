"""Plain words for why PostgreSQL cannot be reached, where somebody has written a wrong DSN or setting."""

from typing import Final

_NOT_VALID: Final = (
    "the DSN is not valid, or a file that it needs is absent: write it like postgresql://user@host:5432/database"
)
_NO_ACCESS: Final = "the server refused the DSN's user or password"
_NO_PREPARED: Final = (
    "a pooler in transaction mode (PgBouncer before 1.21) loses prepared statements: set statement_cache_size=0, in "
    "the application's own pool too"
)

# By the name of the exception, because some come from the socket. No text repeats the DSN: in an invalid one, any part
# may be the password.
_REASONS: Final = {
    "ClientConfigurationError": _NOT_VALID,
    "gaierror": "the DSN's host is not known",
    "ConnectionRefusedError": "nothing listens at the DSN's host and port: the connection was refused",
    "FileNotFoundError": "nothing listens in the DSN's folder: is the server running?",
    "InvalidCatalogNameError": "the server does not have the DSN's database",
    "InvalidPasswordError": _NO_ACCESS,
    "InvalidAuthorizationSpecificationError": _NO_ACCESS,
    "DuplicatePreparedStatementError": _NO_PREPARED,
    "InvalidSQLStatementNameError": _NO_PREPARED,
}


def reason_of(error: BaseException) -> str | None:
    """Return the reason of an error in plain words, if it is a common mistake of whoever set the application up."""
    return _REASONS.get(type(error).__name__)
