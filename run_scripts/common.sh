# shellcheck shell=bash
# What the recipes share: errors, dry runs, downloads that resume, the machines that train together.

die() { echo "$(basename "$0" .sh): $*" >&2; exit 1; }
run() {
    if [[ -n ${DRY_RUN:-} ]]; then printf '%q ' "$@"; echo; else "$@"; fi
}

# fetch URL FILE [BYTES [SHA256]]: resumes, and takes the file only if it has the size and the checksum it should have,
# or one of those in TRUST_CHECKSUM.
fetch() {
    local url=$1 file=$2 bytes=${3:-} pinned=${4:-}
    [[ -e $file ]] && return
    local code command=(curl --fail --location --retry 5 --continue-at - --output "$file.part" --write-out '%{http_code}' "$url")
    if [[ -n ${DRY_RUN:-} ]]; then
        run "${command[@]}"
        return
    fi
    # 416: there is nothing after what is here, so it was whole when it stopped.
    code=$("${command[@]}") || [[ $code == 416 ]] || die "cannot download $url; put the file at $file yourself"
    local found digest
    found=$(stat --format %s "$file.part")
    if [[ -n $bytes && $found != "$bytes" ]]; then
        die "$file.part has $found bytes, expected $bytes: delete it and start again"
    fi
    digest=$(sha256sum "$file.part" | cut -d ' ' -f 1)
    if [[ " $pinned ${TRUST_CHECKSUM:-} " != *" $digest "* ]]; then
        local expected="and none is on record"
        [[ -z $pinned ]] || expected="expected $pinned"
        die "$file.part has SHA-256 $digest, $expected: delete it, or compare it with a source that you trust and" \
            "start again with TRUST_CHECKSUM=$digest"
    fi
    mv "$file.part" "$file"
}

# find_machines sets machines, rank and, for several of them, MASTER_ADDR and MASTER_PORT: from NNODES, NODE_RANK and
# so on, else from SLURM's variables.
find_machines() {
    machines=${NNODES:-${SLURM_NNODES:-1}}
    rank=${NODE_RANK:-${SLURM_NODEID:-0}}
    MASTER_PORT=${MASTER_PORT:-29500}
    if ((machines > 1)); then
        if [[ -z ${MASTER_ADDR:-} && -n ${SLURM_JOB_NODELIST:-} ]]; then
            MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
        fi
        [[ -n ${MASTER_ADDR:-} ]] || die "there are $machines machines: set MASTER_ADDR to the first machine's address"
        ((rank >= 0 && rank < machines)) || die "NODE_RANK must be 0 to $((machines - 1)), got $rank"
    fi
}
