"""Opens providers of keys, such as HSMs, and calls them in threads of their own."""
