-- Of these (id, revision) pairs, those that are not what the asker holds; nothing for the rest. The lateral join makes it
-- one look-up by primary key for each pair, whatever the planner thinks of the table's size.
select held.id as asked, s.expires_at > now() as is_live, {columns}, now()
from unnest($1::uuid[], $2::bigint[]) held (id, revision)
left join lateral (select * from {schema}.aiosess_sessions r where r.id = held.id offset 0) s on true
where s.revision is distinct from held.revision or s.expires_at <= now()
