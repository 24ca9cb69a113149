#!/usr/bin/env bash
# What action.yml runs: promo, and one comment on the pull request. Needs bash, curl and jq, which every runner image of
# GitHub has. Values come in through the environment and are never part of a script's text.
set -euo pipefail

fail() { echo "::error title=promo::$1"; exit 64; }

event=${GITHUB_EVENT_NAME:-}
payload=${GITHUB_EVENT_PATH:-/dev/null}
directory=$INPUT_DIRECTORY
marker="<!-- promo:action directory=$(printf %s "$directory" | tr -cd 'A-Za-z0-9._/-') -->"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

arguments=()
while IFS= read -r line; do
    if [ -n "$line" ]; then arguments+=("$line"); fi
done <<<"$INPUT_ARGUMENTS"
read -r -a environments <<<"$INPUT_ENVIRONMENTS"
# A pull request's author must not smuggle a flag in through a name.
for name in ${environments[@]+"${environments[@]}"}; do
    case $name in -*) fail "an environment cannot be called $name" ;; esac
done

pull_request() { [ "$event" = pull_request ] || [ "$event" = pull_request_target ]; }

# The token must not reach promo, nor anything that promo starts.
token=$INPUT_TOKEN
unset INPUT_TOKEN
# `command`: by its usual name the program would be this function, which would call itself for ever.
promo() { command "$INPUT_PROMO" -C "$directory" --color never "$@"; }

# Finds this action's own comment, or nothing. Only comments of the token's own author count: anybody can write a marker.
find_comment() {
    local page=1
    while :; do
        curl --fail --silent --show-error --max-time 60 --header @"$scratch/header" \
            "$comments?per_page=100&page=$page" >"$scratch/page" || return 1
        jq -r --arg marker "$marker" --arg author "$INPUT_COMMENT_AUTHOR" \
            'map(select(.user.login == $author and (.body | startswith($marker)))) | first | .id // empty' \
            "$scratch/page" >"$scratch/id"
        if [ -s "$scratch/id" ] || [ "$(jq length "$scratch/page")" -lt 100 ]; then
            cat "$scratch/id"
            return 0
        fi
        page=$((page + 1))
    done
}

say() {
    { echo "$marker"; cat "$1"; } >"$scratch/body"
    if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then cat "$1" >>"$GITHUB_STEP_SUMMARY"; fi
    if [ "$INPUT_COMMENT" != true ] || ! pull_request; then return 0; fi
    if [ "$(jq -r '.pull_request.head.repo.full_name == .repository.full_name' "$payload")" != true ]; then
        echo "::notice title=promo::the pull request comes from another repository, so its plan is in the job's summary only"
        return 0
    fi
    local number id
    number=$(jq -r '.pull_request.number | numbers' "$payload")
    [ -n "$number" ] || fail "the event names no pull request"
    comments="$INPUT_API_URL/repos/$GITHUB_REPOSITORY/issues/$number/comments"
    (umask 077 && printf 'Authorization: Bearer %s\nAccept: application/vnd.github+json\nX-GitHub-Api-Version: 2022-11-28\n' \
        "$token" >"$scratch/header")
    jq -Rs '{body: .}' "$scratch/body" >"$scratch/json"
    if ! id=$(find_comment); then
        echo "::warning title=promo::the comments of the pull request cannot be read"
    elif [ -n "$id" ]; then
        curl --fail --silent --show-error --max-time 60 --output /dev/null --request PATCH --header @"$scratch/header" \
            --data @"$scratch/json" "$INPUT_API_URL/repos/$GITHUB_REPOSITORY/issues/comments/$id" ||
            echo "::warning title=promo::the comment cannot be updated"
    else
        curl --fail --silent --show-error --max-time 60 --output /dev/null --request POST --header @"$scratch/header" \
            --data @"$scratch/json" "$comments" || echo "::warning title=promo::the comment cannot be written"
    fi
}

# A message as Markdown: fenced by more backticks than any line of it has.
quoted() {
    local fence='```'
    while grep -qF "$fence" "$2"; do fence="$fence\`"; done
    printf '### promo %s\n\n**It cannot go on.** Nothing was changed.\n\n%s\n' "$1" "${fence}text"
    head -c 50000 "$2"
    printf '\n%s\n' "$fence"
}

# Runs promo; its words go to the log and, when it fails, into the comment.
status=0
attempt() {
    local what=$1
    shift
    promo "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
    cat "$scratch/err" >&2
    if [ "$status" -ne 0 ]; then
        cat "$scratch/out" "$scratch/err" >"$scratch/both"
        quoted "$what" "$scratch/both" >"$scratch/failed"
        say "$scratch/failed"
    fi
    return "$status"
}

case $INPUT_COMMAND in
check)
    if attempt check check ${arguments[@]+"${arguments[@]}"}; then cat "$scratch/out"; fi
    ;;
plan)
    if attempt check check; then
        cat "$scratch/out"
        planned=(plan ${environments[@]+"${environments[@]}"} ${arguments[@]+"${arguments[@]}"} --format markdown)
        # On a pull request the plan is to be read; only a plan of what is merged is one to apply.
        if pull_request; then planned+=(--if-merged); else planned+=(--out "$INPUT_PLAN"); fi
        if attempt plan "${planned[@]}"; then
            cat "$scratch/out"
            say "$scratch/out"
            if ! pull_request; then
                saved=$(promo show "$INPUT_PLAN" --format json | jq -r .digest)
                echo "digest=$saved" >>"$GITHUB_OUTPUT"
            fi
        fi
    fi
    ;;
apply | advance)
    if pull_request; then
        fail "$INPUT_COMMAND writes, and a pull request is not yet what people agreed on: run it after the merge"
    fi
    run=("$INPUT_COMMAND" ${arguments[@]+"${arguments[@]}"})
    if [ "$INPUT_COMMAND" = apply ]; then
        run+=("$INPUT_PLAN")
        if [ -n "$INPUT_DIGEST" ]; then run+=(--expect-digest "$INPUT_DIGEST"); fi
    fi
    # Not captured: a long run shows its progress as it goes.
    promo "${run[@]}" || status=$?
    # What waits for a gate or a person is no failure of a timer.
    if [ "$INPUT_COMMAND" = advance ] && [ "$status" -eq 20 ]; then
        echo "::notice title=promo::something waits: the log says for what"
        echo "exit-code=20" >>"$GITHUB_OUTPUT"
        exit 0
    fi
    ;;
*)
    fail "the command is $INPUT_COMMAND: expected check, plan, apply or advance"
    ;;
esac
echo "exit-code=$status" >>"$GITHUB_OUTPUT"
exit "$status"
