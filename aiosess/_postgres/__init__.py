"""Sessions in PostgreSQL: the only part that speaks asyncpg."""
