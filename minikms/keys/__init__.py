"""Keys, from their making to their end, and what is done with them."""
