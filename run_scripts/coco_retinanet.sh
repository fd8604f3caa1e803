#!/usr/bin/env bash
# RetinaNet R50-FPN on COCO 2017 with focal and with halted focal loss, for several seeds (Table 10 of the paper):
#
#   run_scripts/coco_retinanet.sh [KEY VALUE ...]
#
# KEY VALUE pairs go to every training's config (MODEL.RETINANET.HALT authors, SOLVER.AMP.ENABLED True). Trains on
# all GPUs of this machine; batch, learning rate and iterations are scaled from the authors' 4 GPUs to those in use.
# Stop it at any moment and start it again: it goes on where it was.
#
#   OUTPUT=outputs/coco             where trainings and the table go
#   SEEDS="1 2 3"  SYSTEMS="focal halted_focal"    add _batch32 to a system for the reading of Table 6
#   DETECTRON2_DATASETS=datasets    looked in for coco/{train2017,val2017,annotations} and R-50.pkl; what is missing
#                                   is downloaded there (20 GB). COCO_URL and WEIGHTS_URL name mirrors
#   NUM_GPUS                        GPUs of each machine (default: all)
#   NNODES NODE_RANK MASTER_ADDR MASTER_PORT       several machines, all started alike; or SLURM's variables
#   PYTHON=python   DRY_RUN=1 prints the commands instead of running them
set -euo pipefail

python=${PYTHON:-python}
output=${OUTPUT:-outputs/coco}
seeds=${SEEDS:-1 2 3}
systems=${SYSTEMS:-focal halted_focal}
export DETECTRON2_DATASETS=${DETECTRON2_DATASETS:-datasets}
official=http://images.cocodataset.org
coco_url=${COCO_URL:-$official}
weights_url=${WEIGHTS_URL:-https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/MSRA}
coco=$DETECTRON2_DATASETS/coco
weights=$DETECTRON2_DATASETS/R-50.pkl

# shellcheck source=run_scripts/common.sh
source "$(dirname "$0")/common.sh"

# unpack FOLDER ARCHIVE BYTES: coco/FOLDER from the archive, moved into place when it is whole.
unpack() {
    local folder=$1 archive=$2 bytes=$3
    [[ -d $coco/$folder ]] && return
    [[ $coco_url == "$official" ]] || bytes=
    run mkdir -p "$coco"
    fetch "$coco_url/$archive" "$coco/${archive##*/}" "$bytes"
    echo "unpacking ${archive##*/} (minutes for the pictures)"
    run rm -rf "$coco/unpacking"
    run "$python" -m zipfile -e "$coco/${archive##*/}" "$coco/unpacking" \
        || die "$coco/${archive##*/} is damaged: delete it and start again"
    run mv "$coco/unpacking/$folder" "$coco/$folder"
    run rm -rf "$coco/unpacking" "$coco/${archive##*/}"
}

heads=$("$python" -c 'from importlib.util import find_spec as f; print(f("detectron2_heads").submodule_search_locations[0])')
config() { echo "$heads/configs/retinanet_R_50_FPN_1x_$1.yaml"; }

gpus=${NUM_GPUS:-$("$python" -c 'import torch; print(torch.cuda.device_count())')}
if ((gpus == 0)); then
    echo "no GPU found: training on the CPU, which takes months for the whole schedule" >&2
    gpus=1
fi
find_machines
launch=(--num-gpus "$gpus")
if ((machines > 1)); then
    launch+=(--num-machines "$machines" --machine-rank "$rank")
    launch+=(--dist-url "tcp://$MASTER_ADDR:$MASTER_PORT")
fi

for system in $systems; do
    [[ -e $(config "$system") ]] || die "SYSTEMS must be of focal, halted_focal, focal_batch32, halted_focal_batch32, got $system"
done
unpack annotations annotations/annotations_trainval2017.zip 252907541
unpack val2017 zips/val2017.zip 815585330
unpack train2017 zips/train2017.zip 19336861798
fetch "$weights_url/R-50.pkl" "$weights"
[[ -n ${DRY_RUN:-} ]] || "$python" -m el_plugins.detection.coco "$coco"

for seed in $seeds; do
    for system in $systems; do
        folder=$output/$system-seed$seed
        if [[ -e $folder/results.json ]]; then
            echo "$folder is done"
            continue
        fi
        run "$python" -m detectron2_heads.train_net --resume "${launch[@]}" --config-file "$(config "$system")" \
            MODEL.WEIGHTS "$weights" SEED "$seed" OUTPUT_DIR "$folder" "$@"
    done
done
if ((rank == 0)); then
    run "$python" -m el_plugins.detection.compare "$output"
fi
