#!/usr/bin/env bash
# German-English of IWSLT 2014 with cross-entropy and encouraging loss, as in Table 8 of the paper:
#
#   run_scripts/iwslt14_de_en.sh [--loss "ce ce_ls el el_ls"] [--seeds "1 2 3 4 5"] [--output outputs/iwslt14_de_en]
#                                [--archive de-en.tgz] [--trust-checksum SHA256]
#                                [-- ARGUMENTS OF fairseq-train ...]
#
# Prepares the corpus and runs `el-nmt-benchmark examples/iwslt14_de_en.yaml`, each run on all GPUs. Stop it at any moment
# and start it again: it resumes. Arguments after -- go to every fairseq-train and override the recipe's.
#
#   MAX_TOKENS=4096  UPDATE_FREQ     tokens of a GPU's batch, and batches of an update: by default as many as give an
#                                    update the recipe's tokens. ANY_BATCH=1 allows another number of tokens
#   PRECISION=fp16|bf16|fp32         default fp16, as the authors, on a GPU with tensor cores, else fp32
#   NUM_GPUS                         GPUs of each machine (default: all); PROCESSES without a GPU (default: 1)
#   NNODES NODE_RANK MASTER_ADDR MASTER_PORT     several machines, all started alike; or SLURM's variables. --output
#                                    must be on storage that all of them see
#   ARCHIVE_URL                      another place to download the archive from. What comes is taken if its SHA-256 is on
#                                    record, or given with --trust-checksum
#   PYTHON=python   DRY_RUN=1 prints the commands instead of running them
set -euo pipefail
# shellcheck disable=SC2034
recipe=iwslt14_de_en pair=de-en release=de-en.tgz
# shellcheck source=run_scripts/iwslt.sh
source "$(dirname "$0")/iwslt.sh"
