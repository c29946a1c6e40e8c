"""The tasks, one file per noun: flags in, one call. What a task needs is imported when it runs, so that `inv --list` stays instant."""
