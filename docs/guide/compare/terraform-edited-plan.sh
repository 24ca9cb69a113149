#!/usr/bin/env bash
# An edited plan: terraform applies it. One value in the saved plan is replaced after the review; nothing notices.
# Needs terraform and python3 (to rewrite one member of the plan, which is a zip archive). Downloads nothing.
set -euo pipefail
terraform=${TERRAFORM:-terraform}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cp "$here/main.tf" .
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1
unset TF_CLI_CONFIG_FILE
"$terraform" init -input=false -no-color >/dev/null

echo '$ terraform plan -out=reviewed.tfplan -var release=1.0.0'
"$terraform" plan -input=false -no-color -out=reviewed.tfplan -var release=1.0.0 | grep -E '^ +[+~] |^Plan'

# The same length, so that no offset in the protocol buffer moves.
python3 - <<'PY'
import zipfile
with zipfile.ZipFile("reviewed.tfplan") as old, zipfile.ZipFile("edited.tfplan", "w", zipfile.ZIP_DEFLATED) as new:
    for entry in old.infolist():
        data = old.read(entry.filename)
        if entry.filename == "tfplan":
            assert data.count(b"1.0.0") >= 1
            data = data.replace(b"1.0.0", b"6.6.6")
        new.writestr(entry, data)
PY

echo '$ terraform apply edited.tfplan'
status=0
"$terraform" apply -input=false -no-color edited.tfplan | grep -E 'Apply complete|Error' || status=$?
echo '$ terraform state show terraform_data.production'
"$terraform" state show -no-color terraform_data.production
exit "$status"
