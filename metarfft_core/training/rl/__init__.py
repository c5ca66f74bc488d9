"""Reinforcement learning with trl's GRPO, from the base and the RF-pretrained model (Figure 7).

    arms.py      what a training is: its task, its start and its reward
    rewards.py   the outcome and the process of an answer, by the kit's scoring and its judge
    prompts.py   the prompts of a training, in their order
    answers.py   the answers of a step or an evaluation, scored and kept
    check.py     whether a finished training's log follows from its answers
    results.py   the numbers along a run's trainings, for figures
    trainer.py   trl's GRPOTrainer with evaluations by length and a plain log
    worker.py    the process that runs one training
"""
