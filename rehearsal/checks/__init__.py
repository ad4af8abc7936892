"""What must hold of a rehearsed stack, while it is up and after its destroy."""
