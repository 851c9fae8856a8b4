-- Take the right to mint a successor, if the lease is free; see rotation.may_mint.
update {schema}.aiosess_sessions s
set mint_until = now() + $4::interval, leased_to = $3
where
    s.id = $1 and s.expires_at > now() and s.token_id = $2
    and (
        s.mint_until is null
        or s.mint_until <= now() + case when s.leased_to = $3 then interval '0' else $5::interval end
    )
returning {columns}, now()
