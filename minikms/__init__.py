"""Mini KMS: an HTTP key-management service for people who build with decentralized identity."""
