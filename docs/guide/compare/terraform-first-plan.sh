#!/usr/bin/env bash
# A first plan: one that was made before there was any state. terraform compares only the state's serial number with it,
# which is 0 wherever there is no state, so it applies in any other place and again after the state was lost.
set -euo pipefail
terraform=${TERRAFORM:-terraform}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/one" "$work/two"
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1
unset TF_CLI_CONFIG_FILE
apply() { { "$terraform" apply -input=false -no-color "$work/first.tfplan" 2>&1 || true; } | grep -E "Apply complete|Error"; }

cd "$work/one" && cp "$here/main.tf" .
"$terraform" init -input=false -no-color >/dev/null
"$terraform" plan -input=false -no-color -out="$work/first.tfplan" -var release=1.0.0 >/dev/null
echo '$ terraform apply first.tfplan                 # in the directory it was made for'
apply
echo '$ terraform apply first.tfplan                 # there once more'
apply

cd "$work/two" && cp "$here/main.tf" .
"$terraform" init -input=false -no-color >/dev/null
echo '$ cd ../two && terraform apply first.tfplan    # in a place that the plan was not made for'
apply

cd "$work/one"
: >terraform.tfstate
echo '$ : >terraform.tfstate && terraform apply first.tfplan    # after a killed apply left an empty state'
apply
