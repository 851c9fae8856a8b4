-- The client that the session is at home with (a digest of address and User-Agent; null: that of the login), and until when
-- it gets no further successor.
alter table {schema}.aiosess_sessions add column holder text, add column holder_until timestamptz;
