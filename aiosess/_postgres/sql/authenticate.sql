-- A login; see the function.
select
    a.outcome,
    {columns},
    now()
from {schema}.aiosess_authenticate(
    row(
        $1::uuid, $2::text, $3::bytea, 1, $4::text, null, now(), now(), null, '[]'::jsonb, 0,
        $5::text, $6::text, $7::text, $8::text, $9::text, $10::text::jsonb,
        now(), now(), now(), now() + least($11::interval, $12::interval), now() + $12::interval, $11::interval, $13::boolean,
        null, null, null, null, null, 0, null, null
    )::{schema}.aiosess_sessions,
    $14::interval, $15::uuid, $16::int, $17::timestamptz[]
) a, lateral (select (a.session).*) s
