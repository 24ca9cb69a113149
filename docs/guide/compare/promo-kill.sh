#!/usr/bin/env bash
# A kill during apply: the ledger keeps every record that was committed, the run can be resumed, and the step that was done
# is not done again. Needs promo (on PATH, or named by PROMO) and nothing else.
set -euo pipefail
promo=${PROMO:-promo}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$promo" quickstart "$work/shop" >/dev/null 2>&1
cd "$work/shop"
export PROMO_POLICY=policy.toml PROMO_ACTOR=dana
# The lock of the killed process has to expire: after 5 seconds here, and after 60 when nothing is said.
export PROMO_LEASE_TTL=5s

# A check that takes its time, so that the kill comes after the deployment and before the verdict.
sed -i '2i sleep 2' checks/smoke.sh
"$promo" release add shop=1.1.0 --alias slow >/dev/null 2>&1
"$promo" plan dev --out dev.plan.json >/dev/null
before=$(readlink environments/dev/current)
"$promo" apply dev.plan.json >/dev/null 2>&1 &
pid=$!
until [ "$(readlink environments/dev/current)" != "$before" ]; do sleep 0.05; done
sleep 1
kill -9 "$pid"
{ wait "$pid" || true; } 2>/dev/null
echo 'kill -9 in the middle of promo apply'
echo '$ promo ledger verify'
"$promo" ledger verify
echo '$ promo runs --unfinished'
"$promo" runs --unfinished | grep -v '^Next' | tee "$work/runs"
run=$(cut -d' ' -f1 "$work/runs")
echo '$ promo apply dev.plan.json'
"$promo" apply dev.plan.json 2>&1 | grep ^error || true
echo "\$ promo resume $run    # once the dead process's lock has expired"
until "$promo" resume "$run" >"$work/said" 2>&1; do sleep 2; done
grep -v -e '^Next' -e '^$' "$work/said"
echo "\$ promo resume $run    # once more"
"$promo" resume "$run" 2>&1 | grep -v -e '^Next' -e '^$'
echo '$ promo ledger verify'
"$promo" ledger verify
