-- Take the right to mint a successor, so that parallel requests mint once.
update {schema}.aiosess_sessions s
set mint_until = now() + $3::interval
where s.id = $1 and s.expires_at > now() and s.token_id = $2 and (s.mint_until is null or s.mint_until <= now())
returning {columns}, now()
