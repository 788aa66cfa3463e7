"""Approvers of the tests: private JWKs that joserfc makes."""

from joserfc.jwk import ECKey, OKPKey


def private_jwk(kind="P-256"):
    """A new private JWK."""
    maker = OKPKey if kind.startswith("Ed") else ECKey
    return dict(maker.generate_key(kind).as_dict(private=True))


def public_jwk(private):
    """The public members of a private JWK."""
    return {name: private[name] for name in ("kty", "crv", "x", "y") if name in private}


def rules(threshold=1, **people):
    """The rules of a key whose uses these people approve, each with a private JWK."""
    approvers = [{"name": name, "jwk": public_jwk(jwk)} for name, jwk in people.items()]
    return {"approval": {"approvers": approvers, "threshold": threshold}}
