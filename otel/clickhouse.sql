-- Run at every start of the collector by rootfs/opt/letta-stack/entrypoint/clickhouse.py, in the configured database.
-- What the server writes and reads with LETTA_TELEMETRY_PROVIDER_TRACE_BACKEND=clickhouse and LETTA_STORE_LLM_TRACES=true.
-- Upstream ships no table for it. It holds whole prompts and answers: that is its purpose, and both are off by default.
CREATE TABLE IF NOT EXISTS llm_traces
(
    id String,
    organization_id LowCardinality(String),
    project_id Nullable(String),
    agent_id Nullable(String),
    agent_tags Array(String),
    run_id Nullable(String),
    step_id Nullable(String),
    trace_id Nullable(String),
    call_type LowCardinality(String),
    provider LowCardinality(String),
    model LowCardinality(String),
    is_byok Bool DEFAULT false,
    request_size_bytes UInt32 DEFAULT 0,
    response_size_bytes UInt32 DEFAULT 0,
    prompt_tokens UInt32 DEFAULT 0,
    completion_tokens UInt32 DEFAULT 0,
    total_tokens UInt32 DEFAULT 0,
    cached_input_tokens Nullable(UInt32),
    cache_write_tokens Nullable(UInt32),
    reasoning_tokens Nullable(UInt32),
    latency_ms UInt32 DEFAULT 0,
    is_error Bool DEFAULT false,
    error_type Nullable(String),
    error_message Nullable(String),
    request_json String CODEC(ZSTD(3)),
    response_json String CODEC(ZSTD(3)),
    llm_config_json String CODEC(ZSTD(3)),
    billing_plan_type Nullable(String),
    billing_cost_source Nullable(String),
    billing_customer_id Nullable(String),
    created_at DateTime64(6, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toDate(created_at)
ORDER BY (organization_id, created_at, id)
TTL toDateTime(created_at) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1;
