-- Take the sweep, if no process has taken it within the interval.
update {schema}.aiosess_schema m set swept_at = now()
where m.swept_at <= now() - pg_catalog.make_interval(secs => $1::float8)
returning 1
