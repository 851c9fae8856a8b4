-- Let one process sweep in each interval.
update {schema}.aiosess_schema set swept_at = now() where swept_at <= now() - $1::interval returning 1
