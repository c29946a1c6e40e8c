"""Who keeps data and secrets of a stack: the engine of one host, or a namespace."""
