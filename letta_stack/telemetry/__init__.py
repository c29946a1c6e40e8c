"""Telemetry outside of containers: a collector on the host."""
