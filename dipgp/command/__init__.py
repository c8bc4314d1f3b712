"""The `dipgp` command: one line for a photograph.

    dipgp denoise in.png -o out.png

`options` says what can be asked for, `plans` which files that means, `work` takes one
picture from file to file.
"""
