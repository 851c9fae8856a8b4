-- Note whose users the sessions belong to, unless somebody has.
update {schema}.aiosess_schema m set audience = $1::text where m.audience is null
