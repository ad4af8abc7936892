"""A cluster that exists: what it has, whether a stack can stand on it, and how the platform uses it."""
