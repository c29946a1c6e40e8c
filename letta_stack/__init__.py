"""The container distribution of the Letta agent server: build it, run it, check it."""
