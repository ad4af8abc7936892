"""JupyterHub: the values of its chart, and what it needs to know about teams, profiles and pools."""
