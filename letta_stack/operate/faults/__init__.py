"""Faults on purpose: what a running topology does when a part of it breaks, under a light load."""
