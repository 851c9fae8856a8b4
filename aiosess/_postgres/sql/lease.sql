-- Take the right to mint a successor of a presented token, if the lease is free; see rotation.is_lease_free. What anybody
-- gets makes all wait for one overlap. After its own the holder waits for late_window; others wait for two overlaps, and
-- twice as long for each further one of the same token.
update {schema}.aiosess_sessions s
set
    mint_until = greatest(
        s.mint_until,
        now() + $5::interval * case
            when $4::boolean then 1
            when s.leased_for = $3 then power(2, s.leased_often + 1)
            else 2
        end
    ),
    holder_until = greatest(s.holder_until, now() + case when $4::boolean then $6::interval else $5::interval end),
    leased_to = $7,
    leased_for = $3,
    leased_often = case when s.leased_for = $3 then s.leased_often else 0 end + (not $4::boolean)::int
where
    s.id = $1 and s.expires_at > now() and s.token_id = $2 and s.settled_at is not distinct from $8
    and coalesce(case when $4::boolean then s.holder_until else s.mint_until end, '-infinity') <= now()
returning {columns}, now()
