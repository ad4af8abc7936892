"""The stand-in for pulumi-resource-random, after pulumi-random 4.21 (Terraform's random provider)."""
