#!/bin/bash
# The PiSSA start of a run's RF-pretraining, on one GPU, so that four nodes do not wait for it:
#
#     start=$(sbatch --parsable params/slurm/pissa_start.sh params/32b.yaml)
#     sbatch --dependency="afterok:$start" params/slurm/four_nodes.sh params/32b.yaml
#
# A start that is there is checked and kept. One that is interrupted begins again. --time: `metarfft
# plan` estimates 1.7 hours for 32B.
#SBATCH --job-name=metarfft-start
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=128G
#SBATCH --time=06:00:00
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

params=${1:?usage: sbatch params/slurm/pissa_start.sh PARAMS}
cd "$SLURM_SUBMIT_DIR"
source params/slurm/environment.sh

metarfft train --params "$params" --stage pretrain --only-start
