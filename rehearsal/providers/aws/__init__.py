"""The aws stand-in. Its resource types call the simulated AWS through boto3."""
