"""How policies read resources: pods, node pools, Helm releases, notebook profiles and IAM documents."""
