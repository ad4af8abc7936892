"""What an account needs once, before workflows may preview and deploy stacks in it."""
