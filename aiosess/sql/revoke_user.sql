-- End a user's sessions but one (null: but none), logins under way included; see the function.
select {columns}, now() from {schema}.aiosess_revoke_user($1, $2) s
