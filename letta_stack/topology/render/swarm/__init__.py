"""A topology as a Docker Swarm stack."""
