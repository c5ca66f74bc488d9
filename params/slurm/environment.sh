# What the jobs in this folder share; each one reads it in the folder that sbatch was called in.
export PATH="$PWD/.venv/bin:$PATH"
export HF_HUB_OFFLINE=1                 # compute nodes have no internet: metarfft fetch came before
export HF_HUB_DISABLE_TELEMETRY=1
export PYTHONUNBUFFERED=1               # the log shows a step when it is done
export OMP_NUM_THREADS=8                # for each process; accelerate would say 1
