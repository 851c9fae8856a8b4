-- Of these (id, revision) pairs, those that are not what the asker holds; nothing for the rest. The lateral join makes it
-- one look-up by primary key for each pair, whatever the planner thinks of the table's size. The arrays come as text, for
-- asyncpg looks at every element of an array several times.
select held.id as asked, s.expires_at > now() as is_live, {columns}, now()
from unnest($1::text::uuid[], $2::text::bigint[]) held (id, revision)
left join lateral (select * from {schema}.aiosess_sessions r where r.id = held.id offset 0) s on true
where s.revision is distinct from held.revision or s.expires_at <= now()
