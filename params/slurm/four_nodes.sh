#!/bin/bash
# The corpus and the RF-pretraining of a run on four nodes of 8 GPUs. Later stages need one node:
#
#     first=$(sbatch --parsable params/slurm/four_nodes.sh params/32b.yaml)
#     sbatch --dependency="afterok:$first" params/slurm/one_node.sh params/32b.yaml
#
# The project's folder and $METARFFT_CACHE must be on storage that all nodes share. If the job is
# submitted again, it resumes from its last checkpoint; so it does after its time limit, for it puts
# itself back into the queue. By `metarfft plan` RF-pretraining of 32B takes 3 hours (--time).
#SBATCH --job-name=metarfft-4x8
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

params=${1:?usage: sbatch params/slurm/four_nodes.sh PARAMS}
cd "$SLURM_SUBMIT_DIR"
source params/slurm/environment.sh

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 10000))  # differs between two jobs on a node

metarfft build --params "$params"
# srun starts one launcher on each node, and ends all of them if one fails. $SLURM_NODEID is quoted
# because it is set on the nodes, not here. Without --cpus-per-task, srun would give a launcher one
# core, whatever sbatch was asked for.
until_time_is_up srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" bash -c '
    exec accelerate launch \
    --config_file params/accelerate/hybrid_4x8.yaml --machine_rank "$SLURM_NODEID" \
    --main_process_ip "$0" --main_process_port "$1" \
    -m metarfft_core.training --params "$2" --stage pretrain' "${nodes[0]}" "$port" "$params"
