"""The hints of the class, three stages an exercise: where to look, how, and nearly the answer."""

HINTS = {
    1: ("Find the last line of the trace in the rule. Which line does Python execute after it? A "
        "condition says where to go; at the end of a loop's body, its header comes next.",
        "Write that line as it is in the rule, without its indentation. After ` # ` comes what "
        "it did, in the form that the same line has further up in the trace.",
        "`x = f(y)` says `x = value`; `x += 1` says `old + 1 = new`; `if` and `while` say the "
        "condition with its values, ` -> `, and True or False. A `pop` also says what is left."),
    2: ("Keep the variables on a sheet of paper. Go through the trace line by line and write down "
        "what each line does to them.",
        "Three things can be wrong in a line: a value that it reads, the result, and what is left "
        "of a list. Compare each list with the list in the line that changed it last.",
        "A line is judged by the lines above it. Once a value surprises you, go back to the line "
        "that first claims it: that is the false one, not those that repeat it."),
    3: ("The answer is the number of passes. Which value in the trace can be wrong without a "
        "change of the number of passes?",
        "The judge continues with what you claim. So what you claim must lead to the next line as "
        "it is there. Which digit does the next pass throw away?",
        "In `num = num[1:] # num = '4821'` the 4 is thrown away by the next `num[1:]`. Any other "
        "digit in its place is false in this line and changes none of the others."),
    4: ("Which line does every instance execute, whatever its inputs are?",
        "A change of a condition changes only some answers. A change of what is counted, of where "
        "the counting begins, or of what is returned changes nearly all.",
        "Let each count go up by 2 instead of 1, or return the result plus 1. An answer that is 0 "
        "stays 0 under the first of these: do 45 of 50 still differ?"),
    5: ("Only the first error counts. Everything after it may follow from it. Look at the rule of "
        "each trace: some rules were changed after the model had learned them.",
        "Let Python find the place: `kept = lab.exercise(5).traces[0]`, then compare "
        "`kept.text.split(\"\\n\")` with `kept.right.split(\"\\n\")`. You say what kind it is.",
        "The values that are read are wrong, or a string lost a digit: wrong_copy. They are right "
        "and the result is not: wrong_arithmetic. They are right and the verdict of an `if` is "
        "not: wrong_branch. A right answer does not make the trace right."),
    6: ("With n of n right, the share is 1. The interval ends at 1. Where does it begin? Not at 1: "
        "a model that is right on 7 of 10 questions also has 8 of 8 now and then.",
        "For n of n, Wilson's interval begins at n / (n + z * z), where z is 1.96.",
        "For the second number, solve n / (n + 3.84) >= share for n, and round up. For a share of "
        "0.5 that is 3.84, so 4."),
}
