-- Note that everybody is signed out; see the function.
select r.revoked_at, nullif(r.earlier_at, '-infinity') from {schema}.aiosess_begin_revoke_all() r
