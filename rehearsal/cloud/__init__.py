"""The simulated AWS: a moto server, with what moto lacks in front of it."""
