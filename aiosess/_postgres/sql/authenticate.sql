-- A login; see the function. Each record is a session that was created, replaced or evicted, as the outcome says.
select a.outcome, {columns}, now()
from
    {schema}.aiosess_authenticate(
        new_id => $1::uuid,
        new_user_id => $2::text,
        new_secret_hash => $3::bytea,
        new_token_id => $4::text,
        new_ip => $5::text,
        new_user_agent => $6::text,
        new_device_name => $7::text,
        new_device_type => $8::text,
        new_fingerprint => $9::text,
        new_data => $10::text::jsonb,
        new_idle_timeout => pg_catalog.make_interval(secs => $11::float8),
        new_absolute_timeout => pg_catalog.make_interval(secs => $12::float8),
        new_remember => $13::boolean,
        began_ago => pg_catalog.make_interval(secs => $14::float8),
        earlier_id => $15::uuid,
        presented_id => $16::uuid,
        cap => $17::int,
        excused => $18::text::timestamptz[]
    ) a,
    pg_catalog.jsonb_to_record(a.session) s ({column_types})
