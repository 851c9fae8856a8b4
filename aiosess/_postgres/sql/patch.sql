-- Set one key of the data, unless the data would become too large.
update {schema}.aiosess_sessions s
set data = s.data || jsonb_build_object($2::text, $3::text::jsonb)
where
    s.id = $1::uuid
    and s.expires_at > now()
    and octet_length((s.data || jsonb_build_object($2::text, $3::text::jsonb))::text) <= $4::int
returning {columns}, now()
