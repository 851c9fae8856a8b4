-- Whose users the sessions belong to; null: nobody has claimed the tables so far.
select m.audience::text from {schema}.aiosess_schema m
