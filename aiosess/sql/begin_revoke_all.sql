-- Note that everybody is signed out; see the function.
select {schema}.aiosess_begin_revoke_all() as revoked_at
