-- The PostgreSQL schema that the tables are to live in.
create schema if not exists {schema};
