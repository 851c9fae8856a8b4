-- Take the right to mint a successor, if the lease is free; see rotation.is_lease_free. What others take makes the holder
-- wait once for each token; a holder_until up to late_window after the promotion is left over from the token before.
update {schema}.aiosess_sessions s
set
    mint_until = now() + $5::interval,
    leased_to = $3,
    holder_until = case
        when $4::boolean then now() + $6::interval
        when s.holder_until > s.promoted_at + $6::interval then s.holder_until
        else now() + $5::interval
    end
where
    s.id = $1 and s.expires_at > now() and s.token_id = $2
    and coalesce(case when $4::boolean then s.holder_until else s.mint_until end, '-infinity') <= now()
returning {columns}, now()
