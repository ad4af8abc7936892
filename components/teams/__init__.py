"""Teams: their namespaces, volumes, quotas, rights, and the policies that separate them."""
