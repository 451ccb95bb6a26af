#!/bin/bash
# Makes .env with the secrets that compose.yaml asks for, readable by its owner only; adds those that it lacks.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077
secret() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
touch .env
for name in POSTGRES_PASSWORD REDIS_PASSWORD AMI_SECRET PROVISION_SECRET RECORD_SECRET DIALER_SECRET GRAFANA_PASSWORD; do
    grep -q "^$name=" .env && continue
    echo "$name=$(secret)$(secret)" >>.env
    echo "$name made"
done
