"""Keys at rest, in Askar. Only this wing opens sessions; others give it work for one."""
