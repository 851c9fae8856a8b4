-- The client that the session is at home with (a digest of address and User-Agent; null: that of the login), until when it
-- gets no further successor, and the client that got the last one.
alter table {schema}.aiosess_sessions
    add column holder text, add column holder_until timestamptz, add column leased_to text;
