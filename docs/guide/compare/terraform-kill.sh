#!/usr/bin/env bash
# A kill during apply: the local state is cut to nothing before it is written anew, so a kill in between leaves an empty
# file. Kills when it sees the file empty that was not; then terraform no longer knows of anything that it has made. What is
# seen may be over when the kill arrives, so there are several tries.
set -euo pipefail
terraform=${TERRAFORM:-terraform}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1
unset TF_CLI_CONFIG_FILE
cat >main.tf <<'TF'
resource "terraform_data" "production" {
  count = 200
  provisioner "local-exec" {
    command = "echo ${count.index} >> $DEPLOYED"
  }
}
TF
"$terraform" init -input=false -no-color >/dev/null
"$terraform" plan -input=false -no-color -out=first.tfplan >/dev/null

for attempt in $(seq 1 100); do
    rm -f terraform.tfstate .terraform.tfstate.lock.info
    # What an earlier try started may still be writing.
    export DEPLOYED="deployed-$attempt.log"
    : >"$DEPLOYED"
    "$terraform" apply -input=false -no-color first.tfplan >/dev/null 2>&1 &
    pid=$!
    while [ ! -s terraform.tfstate ] && kill -0 "$pid" 2>/dev/null; do :; done
    while [ -s terraform.tfstate ] && kill -0 "$pid" 2>/dev/null; do :; done
    kill -9 "$pid" 2>/dev/null || true
    { wait "$pid" || true; } 2>/dev/null
    # What it started ends by itself.
    sleep 0.2
    if [ -e terraform.tfstate ] && [ ! -s terraform.tfstate ]; then
        echo "kill -9 number $attempt left terraform.tfstate with $(stat -c %s terraform.tfstate) bytes"
        echo "made before the kill: $(wc -l <"$DEPLOYED") of 200"
        rm -f .terraform.tfstate.lock.info
        echo '$ terraform state list | wc -l'
        { "$terraform" state list -no-color 2>/dev/null || true; } | wc -l
        echo '$ terraform apply first.tfplan'
        { "$terraform" apply -input=false -no-color first.tfplan 2>&1 || true; } | grep -E 'Apply complete|Error'
        echo "made in all: $(wc -l <"$DEPLOYED"), made twice: $(sort "$DEPLOYED" | uniq -d | wc -l)"
        exit 0
    fi
done
echo "100 kills left no empty state on this machine"
exit 1
