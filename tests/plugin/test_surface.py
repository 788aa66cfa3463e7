"""The public surface that plugins of earlier versions rely on."""

import inspect

import pytest

from minikms import plugin

PUBLIC = ("public_jwk", "public_bytes", "load_public")
STORED = ("pack", "unpack")
KEPT = ("generate", *STORED)

# The methods that a subclass has to write. A longer list would refuse plugins that are published.
ABSTRACT = {
    "Aead": ("encrypt", "decrypt"),
    "AskarKeyAlgorithm": (),
    "AskarKeyPair": (),
    "AskarStored": ("generate", "import_secret", "secret_bytes"),
    "BytesStored": ("generate", "import_secret", "secret_bytes"),
    "Box": (*KEPT, *PUBLIC, "box", "open_box", "seal", "open_sealed"),
    "Capability": (),
    "EcAlgorithm": STORED,
    "EcKeyPair": (
        *(*KEPT, "sign", "verify", "derive"),
        *("point", "from_point", "from_secret", "secret_bytes"),
    ),
    "EcdsaSigner": (*KEPT, *PUBLIC, "sign", "verify", "to_der", "from_der"),
    "Hpke": (*KEPT, *PUBLIC, "hpke_seal", "hpke_open"),
    "Jwe": (),
    "JwkImporter": ("import_jwk", "export_jwk"),
    "Kem": (*KEPT, *PUBLIC, "encapsulate", "decapsulate"),
    "KeyAgreement": (*KEPT, *PUBLIC, "derive"),
    "KeyAlgorithm": KEPT,
    "KeyPairAlgorithm": (*KEPT, *PUBLIC),
    "KeyWrap": ("wrap", "unwrap"),
    "Mac": ("mac", "verify_mac"),
    "Pkcs8KeyAlgorithm": ("generate",),
    "ProviderSigner": (*KEPT, *PUBLIC, "sign", "verify", "prepare", "load_spki"),
    "PublicKeyEncryption": (*KEPT, *PUBLIC, "encrypt", "decrypt"),
    "PureSigner": (*KEPT, *PUBLIC),
    "PycaHpke": (*KEPT, *PUBLIC),
    "SecretImporter": ("import_secret",),
    "SeedImporter": ("import_seed",),
    "Signer": (*KEPT, *PUBLIC, "sign", "verify"),
}


@pytest.mark.parametrize("name", ABSTRACT)
def test_a_base_wants_no_more_methods_than_before(name):
    assert set(getattr(plugin, name).__abstractmethods__) <= set(ABSTRACT[name])


def test_every_exported_base_is_among_these():
    exported = {name: getattr(plugin, name) for name in plugin.__all__}
    bases = {
        name
        for name, each in exported.items()
        if inspect.isclass(each) and issubclass(each, plugin.KeyAlgorithm | plugin.Capability)
    }
    assert bases == {*ABSTRACT}
