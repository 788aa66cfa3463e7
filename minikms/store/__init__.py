"""Keys at rest, in Askar. No other wing opens its sessions or knows their types."""
