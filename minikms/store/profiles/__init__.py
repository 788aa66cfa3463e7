"""The profiles of a store, and the tokens that name them."""
