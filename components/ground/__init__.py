"""The basis of the platform: network, cluster, access to it, and checks of the account."""
