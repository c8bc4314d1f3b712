"""The `dipgp` command: one line for a photograph.

    dipgp denoise in.png -o out.png

`options` says what can be asked for, `plans` which files that means, `work` takes one
picture from file to file.
"""

import os

# Before numpy is loaded: covariances are weighed by matrices of 300x300 numbers, over
# which OpenBLAS's threads wait for each other on a machine that is not idle.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
