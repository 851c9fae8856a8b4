-- The client that the session is at home with (a digest of address and User-Agent; null: that of the login), the one that
-- was given the current token and promoted it, which follows once that has settled, and until when the holder gets no
-- further successor; whom the last successor was given to, and for which token.
alter table {schema}.aiosess_sessions
    add column holder text, add column promoted_by text, add column holder_until timestamptz,
    add column leased_to text, add column leased_for text;
