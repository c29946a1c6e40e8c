"""Many replicas through the real gateway and a real PgBouncer."""
