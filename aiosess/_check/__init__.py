"""The check of every request against PostgreSQL, one query for many."""
