"""The aws stand-in: resource types that boto3 carries out against the simulated AWS."""
