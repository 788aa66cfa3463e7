"""Keys of Mini KMS for programs that speak PKCS#11, by the RPC protocol of p11-kit."""
