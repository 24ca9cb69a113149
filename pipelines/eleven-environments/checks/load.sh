#!/bin/sh
# A real pipeline would run its load test here. `LAB=down` in the environment stands for a laboratory that is out of order.
set -eu
. "$PROMO_TARGET_DIRECTORY/current/config/$PROMO_ENVIRONMENT.env"
[ "${LAB:-up}" = up ] || { echo "the laboratory of $PROMO_ENVIRONMENT is $LAB"; exit 1; }
echo "$REPLICAS replicas stood the load"
