"""How policies read resources: what pods, node pools, Helm releases, profiles and IAM documents say."""
