-- The role of the exporter: it reads statistics and no data. Safe to run again, which `inv up` does.
DO $$ BEGIN
    CREATE ROLE letta_monitor LOGIN IN ROLE pg_monitor CONNECTION LIMIT 5;
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;

-- Its password, as a hash.
\i /run/secrets/monitor-login
