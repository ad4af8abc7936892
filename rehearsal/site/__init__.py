"""A rehearsal of a stack on a cluster that exists: a cluster filled as such ones are in the wild, and no AWS at all."""
