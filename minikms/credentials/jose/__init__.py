"""JSON Web Signatures, JSON Web Encryption and JSON Web Key Sets."""
