"""Keys at rest, in Askar: the only wing that opens its sessions."""
