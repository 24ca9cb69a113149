#!/usr/bin/env bash
# A first plan: promo applies it once, to the ledger it was made from, for as long as what is there is what it expects.
# Needs promo (on PATH, or named by PROMO) and nothing else.
set -euo pipefail
promo=${PROMO:-promo}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$promo" quickstart "$work/example" >/dev/null 2>&1
export PROMO_POLICY=policy.toml PROMO_ACTOR=dana
for place in one two; do
    # The example's files, without its ledger and without what it deployed.
    mkdir "$work/$place"
    (cd "$work/example" && cp -r promo.toml policy.toml checks config templates registry "$work/$place")
    "$promo" -C "$work/$place" release add shop=1.0.0 >/dev/null 2>&1
done
apply() {
    local status=0
    "$promo" apply "$work/first.plan.json" >"$work/said" 2>&1 || status=$?
    grep -E '^error|^  (live|generation)|^dev .*is verified$' "$work/said"
    echo "exit $status"
}

cd "$work/one"
"$promo" plan dev --out "$work/first.plan.json" >/dev/null
cp .promo/ledger.db "$work/before.db"
echo '$ promo apply first.plan.json                  # in the place it was made for'
apply
echo '$ promo apply first.plan.json                  # there once more'
apply
echo '$ cd ../two && promo apply first.plan.json     # in a place that the plan was not made for'
cd "$work/two" && apply
echo '$ rm .promo/ledger.db && promo apply first.plan.json    # after the ledger was lost'
cd "$work/one" && mv .promo/ledger.db "$work/after.db" && apply
echo '$ cp before.db .promo/ledger.db && promo apply first.plan.json    # after an old ledger was put back'
cp "$work/before.db" .promo/ledger.db && apply
