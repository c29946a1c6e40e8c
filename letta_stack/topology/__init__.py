"""Topologies: what each is, and its life from up to down."""
