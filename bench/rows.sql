-- Rows as a server of some months has them: messages of text, and passages with the vectors of a model of 1536 dimensions, which
-- the server fills up to 4096. psql gives the numbers of both, an agent and an archive that are there.
CREATE FUNCTION pg_temp.text_of(seed bigint, words integer) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT string_agg(substr(md5((random() * 2000)::integer::text), 1, 3 + (random() * 6)::integer), ' ')
    FROM generate_series(1, words)
$$;

INSERT INTO messages (id, agent_id, organization_id, role, tool_calls, content, created_at, conversation_id)
SELECT 'message-' || gen_random_uuid(), a.id, a.organization_id, CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END, 'null',
    json_build_array(json_build_object('type', 'text', 'text', pg_temp.text_of(n, 40 + (random() * 160)::integer))),
    now() - n * interval '1 minute', NULL
FROM generate_series(1, :messages) n, (SELECT id, organization_id FROM agents WHERE id = :'agent') a;

INSERT INTO archival_passages (id, text, metadata_, embedding, organization_id, archive_id)
SELECT 'passage-' || gen_random_uuid(), pg_temp.text_of(n, 200), '{}',
    (SELECT array_agg(CASE WHEN i <= 1536 AND n > 0 THEN random() - 0.5 ELSE 0 END) FROM generate_series(1, 4096) i)::vector,
    r.organization_id, r.id
FROM generate_series(1, :passages) n, (SELECT id, organization_id FROM archives LIMIT 1) r;
