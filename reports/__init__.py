"""What a pull request is told, and what is left after a destroy: the commands preview, leftovers and architecture."""
