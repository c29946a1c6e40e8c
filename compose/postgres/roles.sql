-- Who is who in the database of `prod`. Run once, by the superuser, in the database `letta`, after init.sql.

-- The owner of everything; nobody logs in as it.
CREATE ROLE letta NOLOGIN;
ALTER DATABASE letta OWNER TO letta;

-- Two ways to become the owner, so that a new password can come before the old one goes (`inv secrets.rotate`).
CREATE ROLE letta_1 NOLOGIN IN ROLE letta;
CREATE ROLE letta_2 NOLOGIN IN ROLE letta;
ALTER ROLE letta_1 SET role = 'letta';
ALTER ROLE letta_2 SET role = 'letta';

-- The first password, as a hash.
\i /run/secrets/database-login

-- The superuser is for `docker exec`; without a password it cannot log in over a network.
ALTER ROLE postgres PASSWORD NULL;
