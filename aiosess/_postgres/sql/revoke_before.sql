-- End those of the next few sessions that began before an instant. Ids are in the order of creation, so this walks through
-- the table once. Tells how far it got; no record comes at the end.
with batch as (
    select s.id, s.created_at <= $1::timestamptz as is_older from {schema}.aiosess_sessions s
    where s.id > $2::uuid
    order by s.id
    limit $3::int
),
ended as (
    delete from {schema}.aiosess_sessions s
    where s.id = any(array(select b.id from batch b where b.is_older))
)
select b.id as reached from batch b order by b.id desc limit 1
