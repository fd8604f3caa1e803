# shellcheck shell=bash disable=SC2154  # the recipe that sources this sets recipe, pair and release
# What the two IWSLT recipes share: the archive to the corpus, and el-nmt-benchmark on it.
# shellcheck source=run_scripts/common.sh
source "$(dirname "$0")/common.sh"
output=outputs/$recipe archive="" choice=() trust=()
while (($#)); do
    case $1 in
        -h | --help) sed -n '2,/^[^#]/{/^#/s/^# \?//p}' "$0"; exit ;;
        --) shift; break ;;
        --loss) read -ra words <<< "${2:?--loss needs a value}"; choice+=(--systems "${words[@]}") ;;
        --seeds) read -ra words <<< "${2:?--seeds needs a value}"; choice+=(--seeds "${words[@]}") ;;
        --output) output=${2:?--output needs a value} ;;
        --archive) archive=${2:?--archive needs a value}; [[ -e $archive ]] || die "--archive $archive does not exist" ;;
        --trust-checksum) trust=(--trust-checksum "${2:?--trust-checksum needs a value}") ;;
        *) die "unknown argument $1; allowed are --loss, --seeds, --output, --archive, --trust-checksum, and -- before fairseq's own" ;;
    esac
    shift 2
done
[[ ${NUM_GPUS:-0} =~ ^[0-9]+$ ]] || die "NUM_GPUS must be a whole number, got $NUM_GPUS"
[[ ${PRECISION:-fp32} =~ ^(fp16|bf16|fp32)$ ]] || die "PRECISION must be fp16, bf16 or fp32, got $PRECISION"
python=${PYTHON:-python} rank=${NODE_RANK:-${SLURM_NODEID:-0}}
read -r gpus precision < <("$python" -c 'import torch.cuda as c
n = c.device_count(); print(n, "fp16" if n and c.get_device_capability() >= (7, 0) else "fp32")')
processes=${NUM_GPUS:-$gpus}
visible=${CUDA_VISIBLE_DEVICES:-$(seq -s , 0 99)}
export CUDA_VISIBLE_DEVICES=
if ((processes > 0)); then
    CUDA_VISIBLE_DEVICES=$(cut -d , -f "1-$processes" <<< "$visible")
else
    echo "no GPU: training on the CPU, which takes weeks for the whole schedule" >&2
    processes=${PROCESSES:-1} precision=fp32
fi
train=(--max-tokens "${MAX_TOKENS:-4096}" ${UPDATE_FREQ:+--update-freq "$UPDATE_FREQ"})
precision=${PRECISION:-$precision}
[[ $precision == fp32 ]] || train+=("--$precision")
choice+=(--processes "$processes" --nodes "${NNODES:-${SLURM_NNODES:-1}}" ${ANY_BATCH:+--any-batch} ${DRY_RUN:+--dry-run})
benchmark=("$python" -m el_plugins.nmt.benchmark "$(dirname "$0")/../examples/$recipe.yaml" --output "$output" "${choice[@]}")
if [[ -z ${DRY_RUN:-} ]]; then
    mkdir -p "$output" && exec 9> "$output/lock.$rank"
    flock --nonblock 9 || die "another start of a recipe still works in $output"
    if [[ $rank == 0 && ! -d $output/data ]]; then
        "${benchmark[@]}" --dry-run -- "${train[@]}" "$@" > /dev/null # refuses wrong settings before the download
        "$python" -m el_plugins.nmt.iwslt "$pair" "${archive:-$output/$release}" "$output/data" ${ARCHIVE_URL:+--url "$ARCHIVE_URL"} "${trust[@]}"
    fi
fi
exec "${benchmark[@]}" -- "${train[@]}" "$@"
