"""The exercises of the class of 90 minutes (notebooks/class).

    exercises.py   what a student calls: exercise, hint, check
    class_data.py  draws the exercises for a student's name
    hints.py       three hints an exercise
"""
