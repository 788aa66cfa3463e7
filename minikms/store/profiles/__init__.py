"""The profiles of a store, their making and removal, and the tokens that name them."""
