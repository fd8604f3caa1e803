# shellcheck shell=bash disable=SC2154  # the recipe that sources this sets pair, url, batch, training, ...
# What the two IWSLT recipes share: from the archive to BLEU, for every loss and seed. Stop it at any moment and start it
# again: it goes on where it was. Arguments after -- go to every fairseq-train and win over the recipe's.
#
#   MAX_TOKENS=4096  UPDATE_FREQ     tokens of a GPU's batch, and batches of an update; UPDATE_FREQ is found so that an
#                                    update has the recipe's tokens. ANY_BATCH=1 allows another number of them
#   PRECISION=fp16|bf16|fp32         default fp16, as the authors, on a GPU with tensor cores, else fp32
#   NUM_GPUS                         GPUs of each machine (default: all); PROCESSES without a GPU (default: 1)
#   NNODES NODE_RANK MASTER_ADDR MASTER_PORT     several machines, all started alike; or SLURM's variables. --output has
#                                    to be on storage that all of them see
#   ARCHIVE_URL                      another place to download the archive from
#   PYTHON=python   DRY_RUN=1 prints the commands instead of running them

common=${BASH_SOURCE[0]}
# shellcheck source=run_scripts/common.sh
source "$(dirname "$common")/common.sh"

usage() { sed -s -n '2,/^[^#]/{/^#/s/^#$\|^# //p}' "$0" "$common"; }

python=${PYTHON:-python}
losses="ce ce_ls el el_ls"
seeds="1 2 3 4 5"
archive=
while (($#)); do
    case $1 in
        --help) usage; exit ;;
        --loss | --seeds | --output | --archive)
            (($# > 1)) || die "$1 needs a value"
            case $1 in
                --loss) losses=$2 ;;
                --seeds) seeds=$2 ;;
                --output) output=$2 ;;
                --archive) archive=$2 ;;
            esac
            shift 2
            ;;
        --) shift; break ;;
        *) die "unknown argument $1; allowed are --loss, --seeds, --output, --archive, and -- before fairseq's own" ;;
    esac
done

# Section 6 of the paper and its authors' commands: label smoothing in the uniform convention for every system, the
# conservative bonus from 0.5 on.
criterion() {
    local smoothing=0 bonus=(--bonus none)
    [[ $1 == *_ls ]] && smoothing=0.1
    [[ $1 == el* ]] && bonus=(--bonus log --log-end 0.5)
    arguments=(--criterion encouraging_ls --smoothing uniform --label-smoothing "$smoothing" "${bonus[@]}")
}
for loss in $losses; do
    case $loss in ce | ce_ls | el | el_ls) ;; *) die "--loss must be of ce, ce_ls, el, el_ls, got $loss" ;; esac
done
for seed in $seeds; do
    [[ $seed =~ ^[1-9][0-9]*$ ]] || die "--seeds must be whole numbers from 1 on, got $seed"
done

gpus=${NUM_GPUS:-$("$python" -c 'import torch; print(torch.cuda.device_count())')}
find_machines
if ((gpus == 0)); then
    echo "no GPU found: training on the CPU, which takes weeks for the whole schedule" >&2
    device=(--cpu --distributed-backend gloo --ddp-backend legacy_ddp)
    workers=${PROCESSES:-1}
    precision=${PRECISION:-fp32}
else
    device=()
    workers=$gpus
    able=$("$python" -c 'import torch as t; print("fp16" if t.cuda.is_available() and t.cuda.get_device_capability() >= (7, 0) else "fp32")')
    precision=${PRECISION:-$able}
fi
case $precision in
    fp16 | bf16) device+=("--$precision") ;;
    fp32) ;;
    *) die "PRECISION must be fp16, bf16 or fp32, got $precision" ;;
esac

all=$((workers * machines))
max_tokens=${MAX_TOKENS:-4096}
update_freq=${UPDATE_FREQ:-$((batch / (all * max_tokens) > 0 ? batch / (all * max_tokens) : 1))}
effective=$((all * max_tokens * update_freq))
echo "$all x $max_tokens tokens x $update_freq = $effective tokens an update; the recipe has $batch"
if ((effective != batch)) && [[ -z ${ANY_BATCH:-} ]]; then
    die "$effective tokens an update are not the recipe's $batch: set MAX_TOKENS or UPDATE_FREQ, or ANY_BATCH=1"
fi

plugin=$("$python" -c 'from importlib.util import find_spec as f; print(f("el_plugins").submodule_search_locations[0])')
bin=$(dirname "$("$python" -c 'import sys; print(sys.executable)')")
PATH=$bin:$PATH
data=$output/data

# One start at a time: what a start left running keeps the lock. Stopped, it ends its training.
child=
stop() {
    trap - INT TERM HUP
    [[ -z $child ]] || { kill "$child" 2> /dev/null || true; wait "$child" || true; }
    die "stopped; start it again to go on"
}
trap stop INT TERM HUP
# watched COMMAND: in the background, for a signal to reach this script at once.
watched() {
    local status=0
    "$@" &
    child=$!
    wait "$child" || status=$?
    child=
    return "$status"
}
if [[ -z ${DRY_RUN:-} ]]; then
    mkdir -p "$output"
    exec 9> "$output/lock.$rank"
    flock --nonblock 9 || die "another start of a recipe still works in $output"
fi

if ((rank > 0)) && [[ -z ${DRY_RUN:-} ]]; then
    until [[ -d $data ]]; do
        echo "waiting for machine 0 to make $data" >&2
        sleep 10
    done
fi
if [[ ! -d $data ]]; then
    if [[ -z $archive ]]; then
        archive=$output/$(basename "$url")
        fetch "${ARCHIVE_URL:-$url}" "$archive"
    fi
    # Seen once to be whole, an archive has to stay the same.
    if [[ -e $archive.sha256 ]]; then
        (cd "$(dirname "$archive")" && run sha256sum --check --quiet "$(basename "$archive").sha256") || die "$archive has changed since it was first read: delete it"
    fi
    run "$python" -m el_plugins.nmt.iwslt "$pair" "$archive" "$data" \
        || die "if $archive is not what IWSLT gives out (above), delete it, or name another by --archive"
    if [[ -z ${DRY_RUN:-} && -w $(dirname "$archive") ]]; then
        (cd "$(dirname "$archive")" && sha256sum "$(basename "$archive")") > "$archive.sha256"
    fi
fi

corpus=
if [[ -z ${DRY_RUN:-} ]]; then
    corpus=$(cd "$data/bin" && sha256sum -- *.idx *.bin dict.* | sha256sum | cut -d " " -f 1)
fi

# fairseq reads torchrun's variables only where it sees several GPUs, so they are passed on as flags.
launch=()
if ((all > 1)); then
    # shellcheck disable=SC2016  # torchrun's workers expand these
    worker='exec fairseq-train "$@" --distributed-world-size "$WORLD_SIZE" --distributed-rank "$RANK" --device-id "$LOCAL_RANK" --distributed-no-spawn --distributed-init-method env://'
    launch=("$python" -m torch.distributed.run --nnodes "$machines" --node_rank "$rank" --nproc_per_node "$workers")
    launch+=(--master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "$MASTER_PORT" --no-python bash -c "$worker" fairseq-train)
else
    launch=(fairseq-train)
fi

train() {
    local folder=$1 seed=$2
    shift 2
    local words=("$data/bin" --user-dir "$plugin" "${training[@]}" "${arguments[@]}" --seed "$seed")
    words+=(--optimizer adam --adam-betas '(0.9, 0.98)' --lr-scheduler inverse_sqrt --warmup-updates 4000)
    words+=(--eval-bleu --eval-bleu-args '{"beam": 5, "max_len_a": 1.2, "max_len_b": 10}')
    words+=(--best-checkpoint-metric bleu --maximize-best-checkpoint-metric --keep-last-epochs 10)
    # Without these fairseq leaves out the last sentences of a set, and makes other batches after it was stopped.
    words+=(--required-batch-size-multiple 1 --update-epoch-batch-itr True)
    words+=(--max-tokens "$max_tokens" --update-freq "$update_freq" --save-dir "$folder/checkpoints")
    words+=(--log-format simple --log-interval 100 "${device[@]}" "$@")
    if [[ -n ${DRY_RUN:-} ]]; then
        run "${launch[@]}" "${words[@]}"
        return
    fi
    mkdir -p "$folder"
    # Results of different settings or corpora never mix.
    printf '%q\n' "${words[@]}" "corpus $corpus" > "$folder/settings.$rank.tmp"
    if [[ -e $folder/settings ]] && ! diff "$folder/settings" "$folder/settings.$rank.tmp"; then
        die "$folder was made with other settings (above): take another --output"
    fi
    mv "$folder/settings.$rank.tmp" "$folder/settings"
    [[ -e $folder/trained ]] && return
    ((rank > 0)) || "$python" -m el_plugins.checkpoints.repair "$folder/checkpoints"
    watched "${launch[@]}" "${words[@]}" > >(exec tee -a "$folder/train.$rank.log") 2>&1 \
        || die "the training of $folder failed: see $folder/train.$rank.log"
    # One file for all machines, for none to go on to the next training while another repeats this one.
    touch "$folder/trained"
}

evaluate() {
    local folder=$1 averaged=$1/averaged.pt subset
    if [[ ! -e $averaged ]]; then
        run el-average-checkpoints --inputs "$folder/checkpoints" --num-epoch-checkpoints 10 --output "$averaged"
    fi
    for subset in "${subsets[@]}"; do
        [[ -e $folder/$subset.json ]] && continue
        local command=(fairseq-generate "$data/bin" --user-dir "$plugin" --path "$averaged" --gen-subset "$subset")
        command+=(--beam 5 --batch-size 128 --required-batch-size-multiple 1 "${remove_bpe[@]}")
        ((gpus == 0)) && command+=(--cpu)
        if [[ -n ${DRY_RUN:-} ]]; then
            run "${command[@]}"
        else
            watched "${command[@]}" > "$folder/$subset.unfinished"
            mv "$folder/$subset.unfinished" "$folder/$subset.txt"
        fi
        run el-score "$folder/$subset.txt" --reference "$data/text/$subset.en" "${scoring[@]}" --json "$folder/$subset.json"
    done
}

for seed in $seeds; do
    for loss in $losses; do
        folder=$output/$loss-seed$seed
        criterion "$loss"
        train "$folder" "$seed" "$@"
    done
done
if ((rank == 0)); then
    for seed in $seeds; do
        for loss in $losses; do
            evaluate "$output/$loss-seed$seed"
        done
    done
    run "$python" -m el_plugins.nmt.compare "$output"
fi
