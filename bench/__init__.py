"""Benchmarks against upstream's way of doing the same, one command each. See README.md beside this file."""
