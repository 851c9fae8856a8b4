-- The version of the schema.
select version from {schema}.aiosess_schema
