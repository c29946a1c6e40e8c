-- The role of the exporter: statistics and counters. Safe to run again, which `inv up` does.
DO $$ BEGIN
    CREATE ROLE letta_monitor LOGIN IN ROLE pg_monitor CONNECTION LIMIT 5;
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;

-- Its password, as a hash.
\i /run/secrets/monitor-login

-- How many tokens each model took; nothing that anybody wrote. The table comes with the first migration.
DO $$ BEGIN
    GRANT SELECT (model, prompt_tokens, completion_tokens) ON steps TO letta_monitor;
EXCEPTION WHEN undefined_table THEN NULL;
END $$;
