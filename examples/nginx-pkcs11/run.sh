#!/usr/bin/env bash
# Start nginx with its TLS key in Mini KMS, and call it.
set -euo pipefail

url=${MINIKMS_URL:-http://127.0.0.1:8080}
module=/usr/lib/$(uname -m)-linux-gnu/pkcs11/p11-kit-client.so
folder=$(mktemp -d)
trap 'kill $(jobs -p); wait; rm -r "$folder"' EXIT
chmod 0711 "$folder"
cd "$folder"

# Wait for a condition while the last program that was started runs.
await() { until "$@"; do kill -0 $!; sleep 0.1; done; }

mkms key generate p256 --alias web >key
mkms certificate web self-signed --subject CN=issuer.example --alternative-name DNS:issuer.example --days 90 >web.pem

# nginx's workers are another user if root starts it.
export P11_KIT_SERVER_ADDRESS=unix:path=$folder/p11
minikms-p11 --url "$url" --socket p11 --uid "$(id -u)" --uid "$(id -u nobody)" &

# The file that nginx takes for the key has a URI of PKCS#11.
openssl asn1parse -noout -out key.der -genconf /dev/stdin <<END
asn1 = SEQUENCE:key
[key]
version = VISIBLESTRING:PKCS\#11 Provider URI v1.0
uri = UTF8String:"pkcs11:token=minikms;object=web;type=private"
END
(echo '-----BEGIN PKCS#11 PROVIDER URI-----' && base64 key.der && echo '-----END PKCS#11 PROVIDER URI-----') >web.key
cat >openssl.cnf <<END
openssl_conf = init
[init]
providers = providers
[providers]
default = default_provider
pkcs11 = pkcs11_provider
[default_provider]
activate = 1
[pkcs11_provider]
pkcs11-module-path = $module
activate = 1
END
cat >nginx.conf <<END
daemon off;
user nobody nogroup;
pid $folder/nginx.pid;
error_log stderr;
env P11_KIT_SERVER_ADDRESS;
env OPENSSL_CONF;
events {}
http {
  access_log off;
  server {
    listen unix:$folder/web ssl;
    ssl_certificate web.pem;
    ssl_certificate_key web.key;
    return 200 "The key of this connection is in Mini KMS.\n";
  }
}
END
await test -S p11
OPENSSL_CONF=$folder/openssl.cnf nginx -c "$folder/nginx.conf" -e stderr &
await test -S web

curl -s --unix-socket web --cacert web.pem https://issuer.example/
openssl s_client -unix web -CAfile web.pem -verify_hostname issuer.example </dev/null 2>&1 | grep -m 1 Verification
