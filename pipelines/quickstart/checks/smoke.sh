#!/bin/sh
# What was deployed names its image by digest, and the environment has the workers that the release needs.
set -eu
live="$PROMO_TARGET_DIRECTORY/current"
grep -q "$PROMO_ARTIFACT_SHOP_DIGEST" "$live/templates/service.toml" || { echo "another image is deployed"; exit 1; }
. "$live/config/common.env"
. "$live/config/$PROMO_ENVIRONMENT.env"
if [ "$WORKERS" -lt "$NEEDS_WORKERS" ]; then
    echo "$PROMO_ENVIRONMENT has $WORKERS workers, the release needs $NEEDS_WORKERS"
    exit 1
fi
echo "deployed as planned, $WORKERS workers for $NEEDS_WORKERS"
