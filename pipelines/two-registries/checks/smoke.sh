#!/bin/sh
# What was deployed names the planned image.
set -eu
grep -q "$PROMO_ARTIFACT_APP_DIGEST" "$PROMO_TARGET_DIRECTORY/current/templates/app.toml" || { echo "another image is deployed"; exit 1; }
echo "deployed as planned"
