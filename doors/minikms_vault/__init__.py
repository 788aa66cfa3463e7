"""The door for the protocol of Vault and OpenBao, with the Transit engine on the service's keys."""
