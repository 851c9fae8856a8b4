-- The client that the session is at home with (a digest of address and User-Agent; null: that of the login), the one that
-- promoted the current token and follows once that has settled, until when the holder gets no further successor, and the
-- token that the last successor was minted for.
alter table {schema}.aiosess_sessions
    add column holder text, add column promoted_by text, add column holder_until timestamptz, add column leased_for text;
