"""JOSE, COSE, X.509 and DIDComm, made and opened with the keys of the service."""
