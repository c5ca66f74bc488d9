#!/bin/bash
# A whole run on one node of 8 GPUs, through the notebooks: corpus, RF-pretraining, adaptations,
# evaluation, figures. Finished work is skipped and interrupted work resumes, so the same line
# starts, resumes and repeats the run. Options after the parameter file go to `metarfft run`.
#
#     sbatch params/slurm/one_node.sh params/7b.yaml
#
# Add the options that your cluster requires (--account, --partition) to the command line of sbatch.
#
# --time: the first line of `metarfft plan` says how many hours a run takes on nodes of 8 GPUs, by
# assumed rates: 6 for 7B, 27 for 32B. The 48 hours here are at least half as much again. If your
# cluster allows less, say so (`sbatch --time=24:00:00 ...`). Five minutes before the limit the job
# puts itself back into the queue, and later it resumes.
#SBATCH --job-name=metarfft
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=48:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

params=${1:?usage: sbatch params/slurm/one_node.sh PARAMS [options of metarfft run]}
cd "$SLURM_SUBMIT_DIR"
source params/slurm/environment.sh

until_time_is_up metarfft run --params "$params" "${@:2}"
