"""Dynamic providers, which wait and report in previews and destroys. Their module paths are in every stack's state."""
