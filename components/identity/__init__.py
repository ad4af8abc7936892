"""Sign-in: Keycloak, its database, and its realm."""
