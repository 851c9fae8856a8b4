-- End a user's sessions but one (null: but none), logins under way included; see the function. The first record is no session.
select r.revoked_at, nullif(r.earlier_at, '-infinity'), {columns}, now()
from {schema}.aiosess_revoke_user($1, $2) r, lateral (select (r.session).*) s
