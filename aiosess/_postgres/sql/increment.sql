-- Add to an int of the data, unless something else stands there or the data would become too large.
update {schema}.aiosess_sessions s
set data = s.data || pg_catalog.jsonb_build_object(
    $2::text,
    case pg_catalog.jsonb_typeof(s.data -> $2::text) when 'number' then (s.data -> $2::text)::numeric else 0 end
    + $3::bigint::numeric
)
where
    s.id = $1::uuid
    and s.expires_at > now()
    and case
        when not s.data ? $2::text then true
        when pg_catalog.jsonb_typeof(s.data -> $2::text) = 'number'
        then pg_catalog.scale((s.data -> $2::text)::numeric) = 0
        else false
    end
    and pg_catalog.octet_length((s.data || pg_catalog.jsonb_build_object(
        $2::text,
        case pg_catalog.jsonb_typeof(s.data -> $2::text) when 'number' then (s.data -> $2::text)::numeric else 0 end
        + $3::bigint::numeric
    ))::text) <= $4::int
returning {columns}, now()
