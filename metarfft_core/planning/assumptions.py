"""What a plan assumes of machines. Nothing here was measured on a GPU; change it to your cluster.

Times are in seconds, rates in bytes or operations a second.
"""

PEAK_TFLOPS = 989.0
"""The dense bfloat16 peak of a GPU, in 1e12 operations a second: an H100's."""
TRAINING = 0.40
"""Share of the peak that training reaches over all operations, recomputed ones included."""
GENERATION = 0.10
"""Share of the peak that generation reaches. Memory limits it, not arithmetic."""
TRAINING_START = 30.0
"""A training's processes: imports, process group, the tokens of the samples."""
ENGINE_START = 60.0
"""A generation engine beside reading the weights: imports, profiling, CUDA graphs. On a node each
group of GPUs starts one, and each base model has one at least."""
READ = 1.5e9
"""Weights from storage to a GPU, for the processes that load them together."""
WRITE = 1.0e9
"""Weights and checkpoints to storage, with their hashes."""
COPY = 5e9
"""Weights and optimizer states from a GPU to the memory of its host."""
DECOMPOSITION = 3e11
"""Operations a second of the singular value decompositions of a PiSSA start on a GPU, which take
6 m n² + 20 n³ operations for m x n weights with m >= n (Golub and Van Loan, R-SVD)."""
