"""What runs inside the process of a training, after the launcher has started it.

    worker.py       the process that runs one training
    series.py       the process that runs many adaptations in turn
    trainer.py      the loss of a training, its checkpoints and its log
    acceleration.py what makes it fast on a GPU, where it is at hand
    checkpoints.py  what a killed training resumes from
    kept_steps.py   the weights of named steps
    record.py       what a finished training records of itself
"""
