"""The container engine: what answers, how to install one, what it can emulate."""
