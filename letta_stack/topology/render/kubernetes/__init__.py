"""A topology as Kubernetes objects."""
