-- The PostgreSQL schema that the tables live in.
create schema if not exists {schema};
