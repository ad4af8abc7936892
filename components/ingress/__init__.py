"""Access from outside: DNS names, certificates, the load balancer, and published services."""
