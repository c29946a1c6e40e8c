"""Certificates of the gateway: a local authority, leaf certificates, and what expires when."""
