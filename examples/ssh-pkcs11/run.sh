#!/usr/bin/env bash
# Sign a file with an SSH key in Mini KMS, and verify the signature.
set -euo pipefail

url=${MINIKMS_URL:-http://127.0.0.1:8080}
module=/usr/lib/$(uname -m)-linux-gnu/pkcs11/p11-kit-client.so
folder=$(mktemp -d)
trap 'kill $(jobs -p); wait; rm -r "$folder"' EXIT
cd "$folder"

# Wait for a condition while the last program that was started runs.
await() { until "$@"; do kill -0 $!; sleep 0.1; done; }

mkms key generate p256 --alias signer >key

# The sidecar makes PKCS#11 calls of the module into calls of the service.
export P11_KIT_SERVER_ADDRESS=unix:path=$folder/p11 SSH_AUTH_SOCK=$folder/agent
minikms-p11 --url "$url" --socket p11 &
await test -S p11
ssh-agent -D -a "$SSH_AUTH_SOCK" >agent.log &
await test -S agent

# The agent gets the key; the answer of `true` is an empty PIN, since the service asks for no token.
SSH_ASKPASS=/bin/true SSH_ASKPASS_REQUIRE=force ssh-add -qs "$module"
ssh-keygen -D "$module" | grep ' signer$' >signer.pub

echo "This is signed by SSH." >message
ssh-keygen -q -Y sign -f signer.pub -n file message

# This is what somebody does who knows only the public key.
echo "alice@issuer.example $(cat signer.pub)" >allowed
ssh-keygen -Y verify -f allowed -I alice@issuer.example -n file -s message.sig <message
