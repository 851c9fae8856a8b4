-- End all sessions at once, if that can be done now; see the function.
select {schema}.aiosess_truncate_sessions() as is_done
