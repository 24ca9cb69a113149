#!/bin/sh
# Every worker does a little arithmetic; a real pipeline would run its load test here.
set -eu
. "$PROMO_TARGET_DIRECTORY/current/config/$PROMO_ENVIRONMENT.env"
total=0
worker=0
while [ "$worker" -lt "$WORKERS" ]; do
    worker=$((worker + 1))
    total=$((total + worker))
done
echo "$WORKERS workers answered, checksum $total"
