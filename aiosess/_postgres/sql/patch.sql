-- Set some keys of the data, unless the data would become too large.
update {schema}.aiosess_sessions s
set data = s.data || $2::text::jsonb
where
    s.id = $1::uuid
    and s.expires_at > now()
    and pg_catalog.octet_length((s.data || $2::text::jsonb)::text) <= $3::int
returning {columns}, now()
