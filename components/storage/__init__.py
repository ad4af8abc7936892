"""Storage: the file system, disks, databases, and their backups."""
