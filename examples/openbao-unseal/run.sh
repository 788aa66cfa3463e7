#!/usr/bin/env bash
# Start OpenBao with its seal in Mini KMS, and restart it: it unseals itself.
set -euo pipefail

kms=${BAO_ADDR:-http://127.0.0.1:8200}
export BAO_ADDR=http://127.0.0.1:8400
folder=$(mktemp -d)
trap 'kill $(jobs -p); wait; rm -r "$folder"' EXIT
cd "$folder"

# Wait for a condition while the last program that was started runs.
await() { until "$@"; do kill -0 $!; sleep 0.1; done; }

BAO_ADDR=$kms bao write -f transit/keys/unseal >/dev/null
cat >openbao.hcl <<END
api_addr     = "http://127.0.0.1:8400"
cluster_addr = "http://127.0.0.1:8401"
storage "raft" { path = "$folder/data" }
listener "tcp" {
  address     = "127.0.0.1:8400"
  tls_disable = true
}
seal "transit" {
  address    = "$kms"
  token      = "none-is-needed"
  mount_path = "transit"
  key_name   = "unseal"
}
END
mkdir data
bao server -config=openbao.hcl >openbao.log 2>&1 &
init() { bao operator init -recovery-shares=1 -recovery-threshold=1 -format=json >openbao.json; }
await init
export BAO_TOKEN=$(sed -n 's/.*"root_token": "\(.*\)".*/\1/p' openbao.json)
await bao secrets enable kv >/dev/null
bao kv put kv/example word=hello >/dev/null

kill $!
wait
bao server -config=openbao.hcl >openbao.log 2>&1 &
await bao kv get -field=word kv/example >secret
echo "OpenBao has unsealed itself. Its secret is: $(cat secret)"
