"""The simulated AWS: one moto server with what moto lacks in front of it."""
