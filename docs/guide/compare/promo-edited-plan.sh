#!/usr/bin/env bash
# An edited plan: promo refuses it, also where nothing had to be approved and although the edited file is as canonical as
# the reviewed one. Needs promo (on PATH, or named by PROMO) and nothing else.
set -euo pipefail
promo=${PROMO:-promo}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$promo" quickstart "$work/shop" >/dev/null 2>&1
cd "$work/shop"
export PROMO_POLICY=policy.toml PROMO_ACTOR=dana
run() { echo "\$ promo $*"; local status=0; "$promo" "$@" 2>&1 || status=$?; echo "exit $status"; }

echo "WORKERS=9" >config/dev.env
echo '$ promo plan dev --out reviewed.plan.json'
saved=$("$promo" plan dev --out reviewed.plan.json | grep ^Saved)
echo "$saved"
reviewed=$(grep -o 'sha256:[0-9a-f]*' <<<"$saved" | head -1)

echo '$ sed s,environments/dev,environments/prd,g reviewed.plan.json > edited.plan.json'
sed 's,environments/dev,environments/prd,g' reviewed.plan.json >edited.plan.json
run apply edited.plan.json
run apply edited.plan.json --expect-digest "$reviewed"

echo '$ sed "s/^{/{ /" reviewed.plan.json > spaced.plan.json     # one space, the same JSON'
sed 's/^{/{ /' reviewed.plan.json >spaced.plan.json
run apply spaced.plan.json

echo '$ ls environments'
ls environments | paste -sd' '
