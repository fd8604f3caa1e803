#!/usr/bin/env bash
# French-English of IWSLT 2017 with cross-entropy and encouraging loss, as in Table 8 of the paper:
#
#   run_scripts/iwslt17_fr_en.sh [--loss "ce ce_ls el el_ls"] [--seeds "1 2 3 4 5"] [--output outputs/iwslt17_fr_en]
#                                [--archive fr-en.zip] [-- ARGUMENTS OF fairseq-train ...]
#
# Prepares the corpus and runs `el-nmt-benchmark examples/iwslt17_fr_en.yaml`, each run on all GPUs. Stop it at any moment
# and start it again: it resumes. Arguments after -- go to every fairseq-train and override the recipe's.
#
#   MAX_TOKENS=4096  UPDATE_FREQ     tokens of a GPU's batch, and batches of an update: by default as many as give an
#                                    update the recipe's tokens. ANY_BATCH=1 allows another number of tokens
#   PRECISION=fp16|bf16|fp32         default fp16, as the authors, on a GPU with tensor cores, else fp32
#   NUM_GPUS                         GPUs of each machine (default: all); PROCESSES without a GPU (default: 1)
#   NNODES NODE_RANK MASTER_ADDR MASTER_PORT     several machines, all started alike; or SLURM's variables. --output
#                                    must be on storage that all of them see
#   ARCHIVE_URL                      another place to download the archive from
#   PYTHON=python   DRY_RUN=1 prints the commands instead of running them
set -euo pipefail
die() { echo "iwslt17_fr_en: $*" >&2; exit 1; }
output=outputs/iwslt17_fr_en archive="" choice=()
while (($#)); do
    case $1 in
        --help) sed -n '2,/^[^#]/{/^#/s/^# \?//p}' "$0"; exit ;;
        --) shift; break ;;
        --loss) read -ra words <<< "${2:?--loss needs a value}"; choice+=(--systems "${words[@]}") ;;
        --seeds) read -ra words <<< "${2:?--seeds needs a value}"; choice+=(--seeds "${words[@]}") ;;
        --output) output=${2:?--output needs a value} ;;
        --archive) archive=${2:?--archive needs a value}; [[ -e $archive ]] || die "--archive $archive does not exist" ;;
        *) die "unknown argument $1; allowed are --loss, --seeds, --output, --archive, and -- before fairseq's own" ;;
    esac
    shift 2
done
python=${PYTHON:-python} rank=${NODE_RANK:-${SLURM_NODEID:-0}}
read -r gpus precision < <("$python" -c 'import torch.cuda as c
n = c.device_count(); print(n, "fp16" if n and c.get_device_capability() >= (7, 0) else "fp32")')
processes=${NUM_GPUS:-$gpus}
[[ $processes =~ ^[0-9]+$ ]] || die "NUM_GPUS must be a whole number, got $processes"
visible=${CUDA_VISIBLE_DEVICES:-$(seq -s , 0 99)}
export CUDA_VISIBLE_DEVICES=
if ((processes > 0)); then
    CUDA_VISIBLE_DEVICES=$(cut -d , -f "1-$processes" <<< "$visible")
else
    echo "no GPU: training on the CPU, which takes weeks for the whole schedule" >&2
    processes=${PROCESSES:-1} precision=fp32
fi
[[ ${PRECISION:=$precision} =~ ^(fp16|bf16|fp32)$ ]] || die "PRECISION must be fp16, bf16 or fp32, got $PRECISION"
train=(--max-tokens "${MAX_TOKENS:-4096}" ${UPDATE_FREQ:+--update-freq "$UPDATE_FREQ"})
[[ $PRECISION == fp32 ]] || train+=("--$PRECISION")
choice+=(--processes "$processes" --nodes "${NNODES:-${SLURM_NNODES:-1}}" ${ANY_BATCH:+--any-batch} ${DRY_RUN:+--dry-run})
benchmark=("$python" -m el_plugins.nmt.benchmark "$(dirname "$0")/../examples/iwslt17_fr_en.yaml" --output "$output" "${choice[@]}")
if [[ -z ${DRY_RUN:-} ]]; then
    mkdir -p "$output" && exec 9> "$output/lock.$rank"
    flock --nonblock 9 || die "another start of a recipe still works in $output"
    if [[ $rank == 0 && ! -d $output/data ]]; then
        "${benchmark[@]}" --dry-run -- "${train[@]}" "$@" > /dev/null # refuses wrong settings before the download
        "$python" -m el_plugins.nmt.iwslt fr-en "${archive:-$output/fr-en.zip}" "$output/data" ${ARCHIVE_URL:+--url "$ARCHIVE_URL"}
    fi
fi
exec "${benchmark[@]}" -- "${train[@]}" "$@"
