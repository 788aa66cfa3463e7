"""AWS KMS's JSON protocol on the keys of the service."""
