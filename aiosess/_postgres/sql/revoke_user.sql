-- End a user's sessions except one (null: without exception), and logins under way; see the function. The first record is
-- no session.
select r.revoked_at, nullif(r.earlier_at, '-infinity'), {columns}, now()
from
    {schema}.aiosess_revoke_user(for_user => $1::text, kept_id => $2::uuid, at_most => $3::int) r,
    pg_catalog.jsonb_to_record(r.session) s ({column_types})
