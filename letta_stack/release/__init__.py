"""From a version to tags in a registry, verified."""
