#!/usr/bin/env bash
# RetinaNet R50-FPN on COCO 2017 with focal and with halted focal loss, for several seeds (Table 10 of the paper):
#
#   run_scripts/coco_retinanet.sh [KEY VALUE ...]
#
# Downloads what is missing, then calls el-detection-benchmark with examples/coco_retinanet.yaml. KEY VALUE pairs go
# to every training's config (MODEL.RETINANET.HALT authors, SOLVER.AMP.ENABLED True). Batch, learning rate and
# iterations are scaled from the authors' 4 GPUs to those in use. Start it again to resume.
#
#   OUTPUT=outputs/coco             where trainings and the table go; shared by all machines
#   SEEDS="1 2 3"  SYSTEMS="focal halted_focal"    add _batch32 to a system for the reading of Table 6
#   DETECTRON2_DATASETS=datasets    looked in for coco/{train2017,val2017,annotations} and R-50.pkl; what is missing
#                                   is downloaded there (20 GB). COCO_URL and WEIGHTS_URL name mirrors
#   TRUST_CHECKSUM                  SHA-256 of downloads to take although they differ from those on record, or none is
#   NUM_GPUS                        GPUs of each machine (default: all)
#   NNODES NODE_RANK MASTER_ADDR MASTER_PORT       several machines, all started alike; or SLURM's variables
#   WAIT_MINUTES=120                for the other machines; the first downloads, the others wait
#   PYTHON=python   DRY_RUN=1 prints the commands instead of running them
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=run_scripts/common.sh
source "$here/common.sh"
[[ ${1:-} != -h && ${1:-} != --help ]] || { sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"; exit; }
python=${PYTHON:-python}
[[ ${NUM_GPUS:-1} =~ ^[1-9][0-9]*$ ]] || die "NUM_GPUS must be a whole number from 1, got $NUM_GPUS"
for system in ${SYSTEMS:=focal halted_focal}; do
    [[ $system =~ ^(halted_)?focal(_batch32)?$ ]] \
        || die "SYSTEMS must be of focal, halted_focal, focal_batch32, halted_focal_batch32, got $system"
done
DETECTRON2_DATASETS=$(realpath -m "${DETECTRON2_DATASETS:-datasets}")
export DETECTRON2_DATASETS
coco=$DETECTRON2_DATASETS/coco
official=http://images.cocodataset.org

# unpack FOLDER ARCHIVE BYTES SHA256: coco/FOLDER from the archive, moved into place when it is whole.
unpack() {
    local zip=$coco/${2##*/}
    [[ -d $coco/$1 ]] && return
    run mkdir -p "$coco"
    fetch "${COCO_URL:-$official}/$2" "$zip" "$([[ -n ${COCO_URL:-} ]] || echo "$3")" "$4"
    echo "unpacking $zip (minutes for the images)"
    run rm -rf "$coco/unpacking"
    run "$python" -m zipfile -e "$zip" "$coco/unpacking" || die "$zip is damaged: delete it and start again"
    run mv "$coco/unpacking/$1" "$coco/$1"
    run rm -rf "$coco/unpacking" "$zip"
}
find_machines
if ((rank == 0)); then
    # The weights first: their checksum is asked for before 20 GB are downloaded.
    run mkdir -p "$DETECTRON2_DATASETS"
    fetch "${WEIGHTS_URL:-https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/MSRA}/R-50.pkl" \
        "$DETECTRON2_DATASETS/R-50.pkl"
    unpack annotations annotations/annotations_trainval2017.zip 252907541 \
        113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268
    unpack val2017 zips/val2017.zip 815585330 4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05
    unpack train2017 zips/train2017.zip 19336861798 69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929
fi
# shellcheck disable=SC2086 # SYSTEMS and SEEDS are lists of words
run "$python" -m el_plugins.detection.benchmark "$here/../examples/coco_retinanet.yaml" \
    --output "${OUTPUT:-outputs/coco}" --systems $SYSTEMS --seeds ${SEEDS:-1 2 3} --options "${*@Q}" \
    ${NUM_GPUS:+--num-gpus "$NUM_GPUS"} --num-machines "$machines" --machine-rank "$rank" \
    --master "${MASTER_ADDR:-localhost}:$MASTER_PORT" --wait "${WAIT_MINUTES:-120}"
