# What all jobs in this folder share. Each job sources this file in the folder that sbatch was
# called in.

# The kit is in .venv (`make env LOCK=gpu`), or in the conda environment that was active at sbatch.
if [[ -x "$PWD/.venv/bin/metarfft" ]]; then
    export PATH="$PWD/.venv/bin:$PATH"
elif ! command -v metarfft > /dev/null; then
    echo "no metarfft: make .venv in $PWD, or activate the conda environment before sbatch" >&2
    exit 1
fi
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader)  # a line for each GPU
driver=${driver%%$'\n'*}
if ((${driver%%.*} < 580)); then  # of the series that came with CUDA 13
    echo "NVIDIA driver $driver: requirements/gpu.txt has wheels for CUDA 13, which need 580" >&2
    exit 1
fi
export HF_HUB_OFFLINE=1                 # compute nodes have no internet: run metarfft fetch before
export HF_HUB_DISABLE_TELEMETRY=1
export PYTHONUNBUFFERED=1               # the log shows each step as soon as it is done
export OMP_NUM_THREADS=8                # for each process; accelerate's default is 1

# Puts the job back into the queue, as often as ten times. SLURM then ends all its processes; when
# the job starts again, it resumes from the last whole checkpoint and the last whole row.
requeue() {
    if ((${SLURM_RESTART_COUNT:-0} >= 10)); then
        echo "the time limit is near for the eleventh time; to go on, submit the job again" >&2
        return 0  # without the 0 it is the status of the interrupted wait
    fi
    echo "the time limit is near: job $SLURM_JOB_ID goes back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
}

# Runs a command, and requeues the job when SLURM announces the time limit (--signal=B:USR1). The
# command runs in the background, because bash heeds a signal only between commands or in `wait`.
until_time_is_up() {
    local work status=0
    trap requeue USR1
    "$@" &
    work=$!
    wait "$work" || status=$?
    if ((status > 128)) && kill -0 "$work" 2> /dev/null; then  # the signal ended only the wait
        status=0
        wait "$work" || status=$?
    fi
    return "$status"
}
