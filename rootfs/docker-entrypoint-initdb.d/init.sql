-- What the server's migrations expect of a new database. Run once by a superuser who is connected to that database: by
-- the entry point of the PostgreSQL image, which looks in this directory, and by the image of the server for the
-- embedded PostgreSQL.

-- No migration creates the extension, and it takes a superuser to do it.
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

-- Tables live in the schema `public`. A schema of our own would need a search_path that is a property of the database:
-- pg_dump leaves that out, so a backup restored under another name would look empty to the server, and the migration
-- would build a second schema beside it.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
