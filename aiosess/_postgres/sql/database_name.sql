-- What to call the database when somebody is asked about it.
select current_database() as name
