"""Passwords and keys of a project: files that only their owner can read."""
