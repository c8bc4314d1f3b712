"""The deep image prior and the Gaussian process that it becomes, side by side."""
