#!/bin/bash
# Makes .env with the secrets that compose.yaml asks for, once; readable by its owner only.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ -e .env ]] && { echo ".env is there already"; exit 0; }
umask 077
secret() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
{
    for name in POSTGRES_PASSWORD REDIS_PASSWORD AMI_SECRET PROVISION_SECRET RECORD_SECRET DIALER_SECRET; do
        echo "$name=$(secret)$(secret)"
    done
} >.env
echo ".env written"
