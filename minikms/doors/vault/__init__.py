"""The door that speaks the protocol of Vault and OpenBao, with the Transit engine on the keys."""
