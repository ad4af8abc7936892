"""The stand-in for pulumi-resource-random. It follows pulumi-random 4.21 (the random provider of Terraform)."""
