-- Note the version that the migrations have reached.
update {schema}.aiosess_schema set version = $1
