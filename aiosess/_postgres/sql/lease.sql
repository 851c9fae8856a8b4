-- Take the lease (the right to mint a successor of a presented token) if it is free; rotation.is_lease_free says when. After
-- any successor everybody waits for at least one overlap. The holder waits for late_window after its own. The others wait
-- for two overlaps after theirs, and twice as long after each further successor of the same token.
update {schema}.aiosess_sessions s
set
    mint_until = greatest(
        s.mint_until,
        now() + pg_catalog.make_interval(secs => $5::float8 * case
            when $4::boolean then 1
            when s.leased_for = $3::text then pg_catalog.power(2, s.leased_often + 1)
            else 2
        end)
    ),
    holder_until = greatest(
        s.holder_until,
        now() + pg_catalog.make_interval(secs => case when $4::boolean then $6::float8 else $5::float8 end)
    ),
    leased_to = $7::text,
    leased_for = $3::text,
    leased_often = case when s.leased_for = $3::text then s.leased_often else 0 end + (not $4::boolean)::int
where
    s.id = $1::uuid and s.expires_at > now()
    and s.token_id = $2::text and s.settled_at is not distinct from $8::timestamptz
    and coalesce(case when $4::boolean then s.holder_until else s.mint_until end, '-infinity') <= now()
returning {columns}, now()
