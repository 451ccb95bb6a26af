#!/bin/bash
# Starts the Asterisk of compose.yaml: configuration from the environment by our own templates, then Asterisk itself.
set -euo pipefail
export ASTERISK_MODULES=${ASTERISK_MODULES:-$(echo /usr/lib/*/asterisk/modules)}
cd /app
python3 -m telephony.provision /srv/asterisk
# Where the configuration is, the secrets are; the process needs them no longer.
unset ASTERISK_AMI_SECRET ASTERISK_PROVISION_SECRET ASTERISK_RECORD_SECRET
exec asterisk -C /srv/asterisk/etc/asterisk.conf -f -n
