"""Scenes: people sign in to a site of real containers, and work there. One site serves all tests of this folder."""
