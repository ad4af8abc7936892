"""Reports on previews, leftovers, costs, times and the architecture of stacks. Each command is a module."""
