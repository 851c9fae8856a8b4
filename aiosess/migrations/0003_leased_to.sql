-- Whose request the last lease was taken for: a digest of address and User-Agent.
alter table {schema}.aiosess_sessions add column leased_to text;
