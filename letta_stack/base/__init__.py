"""What every other package stands on: processes, flags, waiting, paths. It imports nothing but ``errors``."""
