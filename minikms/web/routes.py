"""The API in one table: each call, with its entry in the OpenAPI document.

It is over 300 lines, since it has every call.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from minikms import errors as e
from minikms.access.callers import ANY_TOKEN, OPEN
from minikms.http.answers import Answer
from minikms.web import parameters as p
from minikms.web.handlers import (
    approvals,
    audit,
    jwks,
    keys,
    material,
    operations,
    profiles,
    several_keys,
    system,
    tokens,
)
from minikms.web.handlers.operations import batch_operation, operation
from minikms.web.messages import NDJSON, PEM_FILE
from minikms.web.schemas import (
    approval_bodies,
    audit_bodies,
    box_bodies,
    certificate_bodies,
    cose_bodies,
    didcomm_bodies,
    encapsulation_bodies,
    jose_bodies,
    jwe_bodies,
    key_bodies,
    operation_bodies,
    profile_bodies,
    system_bodies,
    token_bodies,
)
from minikms.web.schemas.base import Body, Request
from minikms.web.schemas.key_bodies import Key, KeyWithCose
from minikms.web.schemas.operation_bodies import DecryptedData, Signature

Problems: TypeAlias = tuple[type[e.KmsError], ...]


@dataclass(frozen=True, eq=False)
class Route:
    """A call: method, path, handler, operationId (`name`) and the scope that callers need.

    The other members are for the document. `tag` is the group on the page, `success` describes the
    answer, and `problems` are specific to the call; openapi.py adds the common ones. `responses`
    are parts of OpenAPI's response objects, by status. The summary is the first line of the
    handler's docstring.
    """

    method: str
    path: str
    handler: Callable[..., Coroutine[Any, Any, Answer]]
    name: str
    scope: str
    tag: str
    success: str
    answer: type[Body] | None = None
    body: type[Request] | None = None
    parameters: tuple[p.Parameter, ...] = ()
    problems: Problems = ()
    many: bool = False
    """The answer is a list."""
    secret: bool = False
    """A successful answer contains a secret, so no cache may store it."""
    other: tuple[type[Request], type[Body]] | None = None
    """Another body that the call takes, and the answer to it."""
    responses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def schemas(self) -> tuple[type[Body], ...]:
        """The schemas of its bodies and answers."""
        return tuple(kind for kind in (self.body, self.answer, *(self.other or ())) if kind)

    @property
    def is_in_profile(self) -> bool:
        """True for a call in one profile, named by its path or a header."""
        return not {p.PROFILE_OF_CALL, p.PROFILE_NAME}.isdisjoint(self.parameters)

    @property
    def is_in_profile_of_head(self) -> bool:
        """True for a call in one profile, which nothing but a header names."""
        return p.PROFILE_OF_CALL in self.parameters and p.PROFILE_OF_QUERY not in self.parameters


def _operation(
    path: str,
    build: Callable[[dict[str, Any]], Any],
    name: str,
    scope: str,
    tag: str,
    success: str,
    body: type[Request],
    answer: type[Body],
    problems: Problems = (),
    *,
    secret: bool = False,
    each: str = "",
) -> Route:
    """Make the route of an operation on a key; `build` makes the operation from a body.

    For a batch, `each` is the name of each result in the answer.
    """
    if each:
        handler = batch_operation(build, body, answer, member=each)
    else:
        handler = operation(build, body, answer)
    return Route("POST", path, handler, name, scope, tag, success, answer, body, _CALL,
                 (*_OF_KEYS, *problems), secret=secret)  # fmt: skip


# `[^/]+`, since aiohttp's own `{kid}` stops at braces. Names of other calls are excluded, since
# otherwise their methods would be allowed for a key.
KID: Final = "{kid:(?!(?:generate|import)$)[^/]+}"
NAME: Final = "{name:[^/]+}"
APPROVAL: Final = "{id:[^/]+}"
ID: Final = "{token:(?!self$)[^/]+}"

_CALL: Final = (p.PROFILE_OF_CALL,)
_OF_KEY: Final = (p.PROFILE_OF_CALL, p.KEY)
_OF_KEYS: Final[Problems] = (
    *(e.KeyNotFound, e.AliasNotFound, e.KeyNotUsable, e.UnsupportedOperation, e.RuleViolated),
)
_NEXT: Final = {"Link": {"description": "The next page (RFC 8288).", "schema": {"type": "string"}}}
_PAGE: Final = {"content": {NDJSON: {"schema": {"type": "string"}}}, "headers": _NEXT}
_PEM: Final = {"content": {PEM_FILE: {"schema": {"type": "string"}}}}
_SET: Final = {
    "headers": {"ETag": {"description": "Entity tag of the set.", "schema": {"type": "string"}}}
}
_NEW_ID: Final = "$response.body#/record/id"
_REVOKE: Final = {
    "links": {"revoke": {"operationId": "revokeToken", "parameters": {"token": _NEW_ID}}}
}
_ANY_OBJECT: Final = {"content": {"application/json": {"schema": {"type": "object"}}}}

# In the order of the page: an example uses keys that earlier examples made, and no key that they
# deleted.
# fmt: off
ROUTES: Final = (
    Route("POST", "/key/generate", material.generate, "generateKey", "keys:write", "keys",
          "The new key.", Key, key_bodies.GenerateKey, _CALL,
          (e.UnsupportedAlgorithm, e.UnsupportedOperation, e.UnsupportedOption, e.KeyExists,
           e.AliasExists, e.TooManyKeys, e.TooLargeRecord, e.ProviderUnavailable)),
    Route("POST", "/key/generate/batch", material.generate_batch, "generateKeys", "keys:write",
          "keys", "The new keys, in order of creation.", key_bodies.GeneratedKeys,
          key_bodies.GenerateKeys, _CALL,
          (e.UnsupportedAlgorithm, e.UnsupportedOperation, e.UnsupportedOption,
           e.TooManyKeys, e.TooLargeRecord, e.ProviderUnavailable)),
    Route("POST", "/key/import", material.import_key, "importKey", "keys:write", "keys",
          "The key.", Key, key_bodies.ImportKey, _CALL,
          (e.UnsupportedAlgorithm, e.UnsupportedOperation, e.UnsupportedOption, e.InvalidKey,
           e.DecryptionFailed, e.KeyNotFound, e.KeyNotUsable, e.KeyExists, e.AliasExists,
           e.TooManyKeys, e.TooManyAliases, e.TooLargeRecord)),
    Route("GET", "/key", keys.find, "findKey", "keys:read", "keys", "The key.",
          KeyWithCose, parameters=(*_CALL, p.BY_ALIAS),
          problems=(e.AliasNotFound, e.KeyNotFound, e.UnsupportedOption),
          responses={"200": _PEM}),
    Route("GET", "/keys", keys.list_keys, "listKeys", "keys:read", "keys",
          'The keys; a Link header with rel="next" if there are more.', Key, many=True,
          parameters=(*_CALL, p.LIMIT, p.AFTER, p.ALG_FILTER, p.ALIAS_FILTER, p.LABEL_FILTER,
                      p.UNUSED_FILTER, p.STATE_FILTER),
          problems=(e.UnsupportedAlgorithm,), responses={"200": _PAGE}),
    Route("POST", f"/key/{KID}/next", material.make_next, "nextKey", "keys:write", "keys",
          "The next key.", Key, parameters=_OF_KEY,
          problems=(e.KeyNotFound, e.KeyNotUsable, e.TooManyKeys, e.TooLargeRecord,
                    e.UnsupportedOperation, e.ProviderUnavailable)),
    Route("POST", f"/key/{KID}/rotate", material.rotate, "rotateKey", "keys:write", "keys",
          "The new key.", Key, parameters=(*_OF_KEY, p.IF_PUBLISHED),
          problems=(e.KeyNotFound, e.KeyNotUsable, e.TooEarly, e.TooManyKeys, e.TooManyAliases,
                    e.TooLargeRecord, e.UnsupportedOperation, e.ProviderUnavailable)),
    Route("GET", f"/key/{KID}/export", material.export, "exportKey", "keys:export", "keys",
          "The private JWK.", key_bodies.PrivateJwk, parameters=_OF_KEY, secret=True,
          problems=(e.KeyNotFound, e.NotExportable, e.KeyNotUsable, e.UnsupportedOperation,
                    e.ApprovalRequired)),
    Route("POST", f"/key/{KID}/restore", keys.restore, "restoreKey", "keys:write", "keys",
          "The key.", Key, parameters=_OF_KEY, problems=(e.KeyNotFound,)),
    Route("POST", f"/key/{KID}/associate", keys.associate, "associateAlias", "keys:write", "keys",
          "The alias and the kid of its key.", key_bodies.Association,
          key_bodies.AssociateAlias, _OF_KEY,
          (e.KeyNotFound, e.KeyNotUsable, e.AliasExists, e.TooManyAliases, e.TooLargeRecord)),
    Route("DELETE", f"/key/{KID}/associate", keys.dissociate, "dissociateAlias", "keys:write",
          "keys", "The alias and the kid of its former key.", key_bodies.Association,
          parameters=(*_OF_KEY, p.BOUND_ALIAS), problems=(e.KeyNotFound, e.AliasNotFound)),
    Route("PUT", f"/key/{KID}/certificates", keys.set_certificates, "setCertificates", "keys:write",
          "keys", "The key.", Key, key_bodies.SetCertificates, (p.PROFILE_OF_CALL, p.CERTIFIED_KEY),
          (e.KeyNotFound, e.KeyNotUsable, e.UnsupportedOperation, e.InvalidCertificate,
           e.TooLargeRecord)),
    Route("DELETE", f"/key/{KID}/certificates", keys.remove_certificates, "removeCertificates",
          "keys:write", "keys", "The key.", Key, parameters=_OF_KEY,
          problems=(e.KeyNotFound, e.KeyNotUsable)),
    Route("GET", f"/key/{KID}", keys.get, "getKey", "keys:read", "keys", "The key.",
          KeyWithCose, parameters=_OF_KEY, problems=(e.KeyNotFound, e.UnsupportedOption),
          responses={"200": _PEM}),
    Route("PATCH", f"/key/{KID}", keys.update, "updateKey", "keys:write", "keys", "The key.", Key,
          key_bodies.UpdateKey, _OF_KEY,
          (e.KeyNotFound, e.KeyNotUsable, e.ApprovalRequired, e.RulesLoosened, e.TooLargeRecord,
           e.UnsupportedOption, e.UnsupportedOperation)),
    Route("DELETE", f"/key/{KID}", keys.delete, "deleteKey", "keys:delete", "keys",
          "The key is deleted, or its deletion is scheduled.", key_bodies.Deletion,
          parameters=(*_OF_KEY, p.DELETE_AFTER), problems=(e.KeyNotFound, e.ApprovalRequired)),
    Route("DELETE", "/key", keys.delete_by_alias, "deleteKeyByAlias", "keys:delete", "keys",
          "The key is deleted, or its deletion is scheduled.", key_bodies.Deletion,
          parameters=(*_CALL, p.DELETED_ALIAS, p.DELETE_AFTER),
          problems=(e.AliasNotFound, e.KeyNotFound, e.ApprovalRequired)),

    _operation("/sign", operations.sign, "sign", "sign", "operations", "The signature.",
               operation_bodies.SignRequest, operation_bodies.Signature,
               (e.ApprovalRequired, e.UnsupportedOption, e.ProviderUnavailable)),
    _operation("/verify", operations.verify, "verify", "verify", "operations",
               "Whether the signature is valid.", operation_bodies.VerifyRequest,
               operation_bodies.Verification, (e.UnsupportedOption, e.InvalidKey)),
    _operation("/sign/batch", operations.sign_batch, "signBatch", "sign", "operations",
               "A signature or a problem for each message, in order.",
               operation_bodies.BatchSignRequest, operation_bodies.BatchSignature,
               (e.ApprovalRequired, e.UnsupportedOption, e.ProviderUnavailable), each="sig"),
    _operation("/verify/batch", operations.verify_batch, "verifyBatch", "verify", "operations",
               "Whether each signature is valid, or a problem, in order.",
               operation_bodies.BatchVerifyRequest, operation_bodies.BatchVerification,
               (e.UnsupportedOption, e.InvalidKey), each="valid"),
    _operation("/encrypt", operations.encrypt, "encrypt", "encrypt", "operations",
               "The ciphertext, nonce and tag.", operation_bodies.EncryptRequest,
               operation_bodies.EncryptedData, (e.UnsupportedOption, e.InvalidKey)),
    _operation("/decrypt", operations.decrypt, "decrypt", "decrypt", "operations",
               "The plaintext.", operation_bodies.DecryptRequest, DecryptedData,
               (e.UnsupportedOption, e.DecryptionFailed), secret=True),
    _operation("/wrap", operations.wrap, "wrap", "wrap", "operations", "The wrapped bytes.",
               operation_bodies.WrapRequest, operation_bodies.WrappedKey, (e.InvalidKey,)),
    _operation("/unwrap", operations.unwrap, "unwrap", "wrap", "operations", "The secret bytes.",
               operation_bodies.UnwrapRequest, operation_bodies.UnwrappedKey,
               (e.DecryptionFailed,), secret=True),
    _operation("/derive", operations.derive, "derive", "derive", "operations",
               "The raw shared secret.", operation_bodies.DeriveRequest,
               operation_bodies.SharedSecret, (e.InvalidKey,), secret=True),
    _operation("/mac", operations.mac, "mac", "mac", "operations", "The authentication code.",
               operation_bodies.MacRequest, operation_bodies.AuthenticationCode,
               (e.ApprovalRequired,)),
    _operation("/mac/verify", operations.verify_mac, "verifyMac", "mac", "operations",
               "Whether the authentication code is valid.", operation_bodies.VerifyMacRequest,
               operation_bodies.Verification),
    Route("POST", "/random", several_keys.random, "random", "random", "operations", "The bytes.",
          operation_bodies.RandomBytes, operation_bodies.RandomRequest),

    _operation("/box", operations.make_box, "makeBox", "encrypt", "boxes", "The box.",
               box_bodies.BoxRequest, box_bodies.BoxCiphertext, (e.InvalidKey,)),
    _operation("/box/open", operations.open_box, "openBox", "decrypt", "boxes", "The plaintext.",
               box_bodies.OpenBoxRequest, DecryptedData, (e.DecryptionFailed, e.InvalidKey),
               secret=True),
    _operation("/box/seal", operations.seal_box, "sealBox", "encrypt", "boxes", "The sealed box.",
               box_bodies.SealBoxRequest, box_bodies.SealedBox, (e.InvalidKey,)),
    _operation("/box/seal/open", operations.open_sealed_box, "openSealedBox", "decrypt", "boxes",
               "The plaintext.", box_bodies.OpenSealedBoxRequest, DecryptedData,
               (e.DecryptionFailed,), secret=True),

    _operation("/didcomm/pack", operations.pack, "packDidcomm", "encrypt", "didcomm",
               "The envelope.", didcomm_bodies.PackRequest, didcomm_bodies.PackAnswer,
               (e.InvalidKey,)),
    _operation("/didcomm/unpack", operations.unpack, "unpackDidcomm", "decrypt", "didcomm",
               "The message, with sender and recipient.", didcomm_bodies.UnpackRequest,
               didcomm_bodies.UnpackAnswer, (e.DecryptionFailed,), secret=True),

    _operation("/encapsulate", operations.encapsulate, "encapsulate", "encrypt",
               "encapsulation", "The secret and its ciphertext.",
               encapsulation_bodies.EncapsulateRequest, encapsulation_bodies.EncapsulatedSecret,
               (e.InvalidKey,), secret=True),
    _operation("/decapsulate", operations.decapsulate, "decapsulate", "derive",
               "encapsulation", "The secret.", encapsulation_bodies.DecapsulateRequest,
               encapsulation_bodies.DecapsulatedSecret, (e.DecryptionFailed,),
               secret=True),
    _operation("/hpke/seal", operations.seal_hpke, "sealHpke", "encrypt", "encapsulation",
               "The encapsulated key and the ciphertext.", encapsulation_bodies.SealHpkeRequest,
               encapsulation_bodies.HpkeMessage, (e.InvalidKey, e.UnsupportedOption)),
    _operation("/hpke/open", operations.open_hpke, "openHpke", "decrypt", "encapsulation",
               "The plaintext.", encapsulation_bodies.OpenHpkeRequest, DecryptedData,
               (e.DecryptionFailed, e.UnsupportedOption), secret=True),

    Route("POST", "/jws/sign", operations.sign_jws, "signJws", "sign", "jose",
          "The JWS, or the signature over a signing input.", jose_bodies.JwsSignature,
          jose_bodies.SignJwsRequest, _CALL,
          (*_OF_KEYS, e.ApprovalRequired, e.UnsupportedOption, e.ProviderUnavailable),
          other=(jose_bodies.SignSigningInputRequest, Signature)),
    _operation("/jws/verify", operations.verify_jws, "verifyJws", "verify", "jose",
               "Whether the JWS is valid, with its header and payload.",
               jose_bodies.VerifyJwsRequest, jose_bodies.JwsVerification,
               (e.UnsupportedOption, e.InvalidKey)),
    Route("POST", "/jwe/encrypt", several_keys.encrypt_jwe, "encryptJwe", "encrypt", "jose",
          "The JWE.", jwe_bodies.EncryptedJwe, jwe_bodies.EncryptJweRequest, _CALL,
          (*_OF_KEYS, e.UnsupportedOption, e.InvalidKey)),
    _operation("/jwe/decrypt", operations.decrypt_jwe, "decryptJwe", "decrypt", "jose",
               "The plaintext and the header.", jwe_bodies.DecryptJweRequest,
               jwe_bodies.DecryptedJwe, (e.DecryptionFailed, e.UnsupportedOption, e.InvalidKey),
               secret=True),
    Route("POST", "/key-attestation", several_keys.attest_keys, "attestKeys", "sign", "jose",
          "The attestation.", jose_bodies.AttestationJwt, jose_bodies.AttestKeysRequest, _CALL,
          (*_OF_KEYS, e.ApprovalRequired, e.UnsupportedOption, e.NotAttestable,
           e.ProviderUnavailable)),
    Route("GET", "/jwks.json", jwks.jwks, "jwks", "keys:read", "jose",
          "The public keys for signatures and key agreement, each under its kid and its aliases.",
          jose_bodies.JwkSet,
          parameters=(*_CALL, p.PROFILE_OF_QUERY, p.KTY_FILTER, p.JOSE_FILTER, p.USE_FILTER,
                      p.IF_NONE_MATCH),
          responses={"200": _SET,
                     "304": {"description": "The set has not changed.", "content": {}}}),

    _operation("/csr", operations.make_csr, "makeCsr", "sign", "certificates",
               "The certificate request.", certificate_bodies.CsrRequest,
               certificate_bodies.CertificateSigningRequest,
               (e.ApprovalRequired, e.UnsupportedOption, e.InvalidCertificate,
                e.ProviderUnavailable)),
    Route("POST", "/certificate", several_keys.issue_certificate, "issueCertificate", "sign",
          "certificates", "The certificate.", certificate_bodies.IssuedCertificate,
          certificate_bodies.IssueCertificateRequest, _CALL,
          (*_OF_KEYS, e.ApprovalRequired, e.UnsupportedOption, e.InvalidCertificate,
           e.ProviderUnavailable)),
    Route("POST", "/crl", several_keys.make_crl, "makeCrl", "sign", "certificates",
          "The revocation list.", certificate_bodies.SignedRevocationList,
          certificate_bodies.CrlRequest, _CALL,
          (*_OF_KEYS, e.ApprovalRequired, e.UnsupportedOption, e.InvalidCertificate,
           e.ProviderUnavailable)),

    Route("POST", "/cose/sign", operations.sign_cose, "signCose", "sign", "cose",
          "The message, or the signature over a Sig_structure.", cose_bodies.CoseMessage,
          cose_bodies.SignCoseRequest, _CALL,
          (*_OF_KEYS, e.ApprovalRequired, e.UnsupportedOption, e.InvalidCose,
           e.ProviderUnavailable),
          other=(cose_bodies.SignSigStructureRequest, Signature)),
    _operation("/cose/verify", operations.verify_cose, "verifyCose", "verify", "cose",
               "Whether the message is valid, with its header parameters and payload.",
               cose_bodies.VerifyCoseRequest, cose_bodies.CoseVerification,
               (e.UnsupportedOption, e.InvalidCose, e.InvalidKey)),

    Route("GET", "/approvals", approvals.list_approvals, "listApprovals", "approvals", "approvals",
          "The approvals, the first to expire first.", approval_bodies.Approval, many=True,
          parameters=(*_CALL, p.APPROVALS_KID)),
    Route("GET", f"/approvals/{APPROVAL}", approvals.get, "getApproval", "approvals", "approvals",
          "The approval.", approval_bodies.Approval, parameters=(*_CALL, p.APPROVAL),
          problems=(e.ApprovalNotFound,)),
    Route("POST", f"/approvals/{APPROVAL}", approvals.approve, "approve", "approvals", "approvals",
          "The approval, with its new name.", approval_bodies.Approval, approval_bodies.Approve,
          (*_CALL, p.APPROVAL), (e.ApprovalNotFound, e.InvalidApproval)),
    Route("DELETE", f"/approvals/{APPROVAL}", approvals.withdraw, "withdrawApproval", "approvals",
          "approvals", "The approval, which waits no longer.", approval_bodies.Approval,
          parameters=(*_CALL, p.APPROVAL), problems=(e.ApprovalNotFound,)),

    Route("POST", "/profile", profiles.create, "createProfile", "profiles", "profiles",
          "The profile is created.", profile_bodies.ProfileCreated, profile_bodies.CreateProfile,
          problems=(e.ProfileExists, e.ProfileNotFound, e.StoreUnavailable)),
    Route("GET", "/profiles", profiles.list_profiles, "listProfiles", "profiles", "profiles",
          'The profiles, sorted; a Link header with rel="next" if there are more.',
          profile_bodies.ProfileNames, responses={"200": {"headers": _NEXT}},
          parameters=(p.PROFILES_LIMIT, p.PROFILES_AFTER, p.PROFILES_INCLUDE),
          problems=(e.StoreUnavailable,)),
    Route("PATCH", f"/profile/{NAME}", profiles.change, "changeProfile", "profiles", "profiles",
          "The changed profile.", profile_bodies.Profile, profile_bodies.ChangeProfile,
          (p.PROFILE_NAME,), (e.ProfileNotFound, e.ProfileFrozen, e.StoreUnavailable)),
    Route("DELETE", f"/profile/{NAME}", profiles.delete, "deleteProfile", "profiles", "profiles",
          "Whether the profile existed.", profile_bodies.ProfileDeleted,
          parameters=(p.PROFILE_NAME,),
          problems=(e.ProfileNotFound, e.ProfileProtected, e.StoreUnavailable)),

    Route("POST", "/tokens", tokens.create, "createToken", "admin", "tokens", "The token.",
          token_bodies.TokenCreated, token_bodies.CreateToken, secret=True,
          problems=(e.ProfileNotFound, e.ProfileFrozen, e.TooManyTokens, e.StoreUnavailable),
          responses={"200": _REVOKE}),
    Route("GET", "/tokens", tokens.list_tokens, "listTokens", "admin", "tokens",
          'The tokens, oldest first; a Link header with rel="next" if there are more.',
          token_bodies.Token, many=True, responses={"200": {"headers": _NEXT}},
          parameters=(p.TOKENS_LIMIT, p.TOKENS_AFTER), problems=(e.StoreUnavailable,)),
    Route("GET", "/tokens/self", tokens.get_own, "getOwnToken", ANY_TOKEN, "tokens",
          "The permissions of the caller's token.", token_bodies.OwnToken),
    Route("DELETE", f"/tokens/{ID}", tokens.revoke, "revokeToken", "admin", "tokens",
          "The token is revoked.", token_bodies.TokenRevoked, parameters=(p.TOKEN,),
          problems=(e.TokenNotFound, e.StoreUnavailable)),

    Route("GET", "/audit", audit.list_events, "listAuditEvents", "audit", "audit",
          'The events, newest first; a Link header with rel="next" if there may be more.',
          audit_bodies.AuditEvent, many=True, responses={"200": {"headers": _NEXT}},
          parameters=(p.AUDIT_KID, p.AUDIT_ALIAS, p.AUDIT_WHO, p.AUDIT_OPERATION,
                      p.AUDIT_OUTCOME, p.AUDIT_PROFILE, p.AUDIT_SINCE, p.AUDIT_UNTIL,
                      p.AUDIT_LIMIT, p.AUDIT_AFTER),
          problems=(e.ProfileNotFound, e.AliasNotFound)),

    Route("GET", "/algorithms", system.algorithms, "listAlgorithms", "keys:read", "system",
          "The algorithms.", system_bodies.Algorithm, many=True),
    Route("GET", "/healthz", system.healthz, "healthz", OPEN, "system", "The process is alive.",
          system_bodies.Health),
    Route("GET", "/readyz", system.readyz, "readyz", OPEN, "system", "The service is ready.",
          system_bodies.Health,
          problems=(e.StoreUnavailable, e.AuditUnavailable, e.ShuttingDown,
                    e.ProviderUnavailable)),
    Route("GET", "/openapi.json", system.openapi, "openapi", OPEN, "system",
          "The OpenAPI document.", responses={"200": _ANY_OBJECT}),
)
# fmt: on
