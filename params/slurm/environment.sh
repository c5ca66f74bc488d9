# The settings that all jobs in this folder share. Each job sources this file in the folder that
# sbatch was called in.
export PATH="$PWD/.venv/bin:$PATH"
export HF_HUB_OFFLINE=1                 # compute nodes have no internet: run metarfft fetch before
export HF_HUB_DISABLE_TELEMETRY=1
export PYTHONUNBUFFERED=1               # the log shows each step as soon as it is done
export OMP_NUM_THREADS=8                # for each process; accelerate's default is 1
