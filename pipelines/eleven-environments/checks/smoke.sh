#!/bin/sh
# Both components are the ones that were planned, and the environment has at least one replica.
set -eu
live="$PROMO_TARGET_DIRECTORY/current"
grep -q "$PROMO_ARTIFACT_API_DIGEST" "$live/templates/release.toml" || { echo "another api is deployed"; exit 1; }
grep -q "$PROMO_ARTIFACT_WORKER_DIGEST" "$live/templates/release.toml" || { echo "another worker is deployed"; exit 1; }
. "$live/config/$PROMO_ENVIRONMENT.env"
[ "$REPLICAS" -ge 1 ] || { echo "no replica"; exit 1; }
echo "both components as planned, $REPLICAS replicas"
