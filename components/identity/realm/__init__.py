"""Keycloak's realm: its content, and the Job that applies it."""
