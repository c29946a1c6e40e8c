-- How many bytes are free on the disk of this PostgreSQL, for the server's reserve: what a program says that nobody can change.
-- Run by a superuser, as often as you like, and in no database of the server's: backups and restores are of that one.
\connect postgres
CREATE EXTENSION IF NOT EXISTS file_fdw WITH SCHEMA public;
CREATE SERVER IF NOT EXISTS letta_stack FOREIGN DATA WRAPPER file_fdw;
-- It runs in the data directory. The log that PostgreSQL writes ahead may be on a disk of its own.
CREATE FOREIGN TABLE IF NOT EXISTS public.letta_stack_df (line text) SERVER letta_stack
    OPTIONS (program 'exec df -P -k . pg_wal', format 'text', delimiter E'\x01');
CREATE OR REPLACE VIEW public.letta_stack_disk AS
    SELECT min((regexp_match(line, '\s(\d+)\s+\d+%\s'))[1]::bigint) * 1024 AS free FROM public.letta_stack_df;
GRANT SELECT ON public.letta_stack_disk TO PUBLIC;
