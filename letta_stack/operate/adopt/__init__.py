"""Takes over what a Letta server elsewhere has: upstream's containers, volumes and directories, any PostgreSQL."""
