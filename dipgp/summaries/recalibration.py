"""Laws of standardised residuals, and their estimates from values held out.

A posterior that is Gaussian with the standard deviations it predicts makes standardised
residuals z = (value - mean) / std standard normal. Where they are not, another law of z
takes its place, for all pixels alike:

"scale": N(0, s^2) with s^2 = mean z^2, the maximum of the likelihood. An inflated
variance; tails heavier than Gaussian stay wrong.

"student": s T with T of Student's law of nu degrees of freedom, both by maximum
likelihood. Heavier tails, and a density.

"quantiles": no density but intervals. Of n held-out |z| the ceil((n + 1) p)-th
smallest is the half width at level p, in predicted standard deviations, infinite
where there are not so many. If the next |z| is exchangeable with these, it is covered
with a probability from p to p + 1 / (n + 1), whatever the law of errors is (split
conformal prediction). Pixels that are held out by lot are exchangeable with others
left out by the same lot, not with those of a hole. Of n pixels all of whose channels
count, a channel of the next one is covered with a probability from p - 1 / (n + 1) to
p + 2 / (n + 1).

References:
  Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005.
  Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, "Distribution-free predictive
  inference for regression", Journal of the American Statistical Association, 2018.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import scipy  # loads scipy.stats and optimize, slow ones, where they are first read
import scipy.special

from dipgp import numerics

Form = Literal["scale", "student", "quantiles"]

# Between which the maximum of the likelihood is looked for; at the upper end Student's
# law is the normal one to a thousandth.
_FREEDOMS = (0.5, 1000.0)


@dataclass(frozen=True)
class Normal:
    """N(0, scale^2); that of a right posterior by default."""

    scale: float = 1.0

    def half_widths(self, levels: np.ndarray) -> np.ndarray:
        """(L,) half widths of the central intervals at levels (L,)."""
        return self.scale * scipy.special.ndtri((1 + np.asarray(levels)) / 2)

    def log_density(self, standardised: np.ndarray) -> np.ndarray:
        """Of each residual, in nats."""
        return scipy.stats.norm.logpdf(standardised, scale=self.scale)


@dataclass(frozen=True)
class Student:
    """Student's law with `freedom` degrees of freedom, times `scale`."""

    scale: float
    freedom: float

    def half_widths(self, levels: np.ndarray) -> np.ndarray:
        """(L,) half widths of the central intervals at levels (L,)."""
        return self.scale * scipy.special.stdtrit(
            self.freedom, (1 + np.asarray(levels)) / 2
        )

    def log_density(self, standardised: np.ndarray) -> np.ndarray:
        """Of each residual, in nats."""
        return scipy.stats.t.logpdf(standardised, self.freedom, scale=self.scale)


@dataclass(frozen=True)
class Quantiles:
    """Intervals by (n,) sizes |z| of held-out residuals, in ascending order."""

    sizes: np.ndarray

    def half_widths(self, levels: np.ndarray) -> np.ndarray:
        """(L,) half widths at levels (L,); infinite where too few were held out."""
        count = len(self.sizes)
        # Less a rounding error: (n + 1) p may be a whole number, and be missed.
        rank = np.ceil((count + 1) * np.asarray(levels) - 1e-9).astype(int)
        return np.append(self.sizes, math.inf)[np.minimum(rank, count + 1) - 1]

    def log_density(self, standardised: np.ndarray) -> None:
        """There is none."""


Law = Normal | Student | Quantiles


def recalibrate(standardised: np.ndarray, form: Form) -> Law:
    """The law of standardised residuals that values held out suggest.

    Args:
      standardised: (n,) residuals in predicted standard deviations, of values that the
        posterior has not seen. To be judged on others.
      form: "scale", "student" or "quantiles", as the module says.

    Raises:
      ValueError: on an unknown form, on no residual, or on one that is not finite; for
        the first two forms where all are zero.
    """
    numerics.check_choice("form", form, get_args(Form))
    numerics.check_real("standardised", standardised)
    residuals = np.asarray(standardised, np.float64)
    if residuals.ndim != 1 or residuals.size == 0 or not np.isfinite(residuals).all():
        raise ValueError(
            "standardised: expected at least one finite residual in an array (n,), got "
            f"shape {residuals.shape}, {np.isfinite(residuals).sum()} of them finite"
        )
    if form == "quantiles":
        return Quantiles(np.sort(np.abs(residuals)))
    scale = math.sqrt(np.mean(residuals**2))
    if scale == 0:
        raise ValueError("standardised: expected residuals, got zeros only")
    return Normal(scale) if form == "scale" else _fit_student(residuals, scale)


def _fit_student(residuals: np.ndarray, scale: float) -> Student:
    """By maximum likelihood in the logarithms of scale and degrees of freedom."""

    def cost(logarithms: np.ndarray) -> float:
        law = Student(scale * math.exp(logarithms[0]), math.exp(logarithms[1]))
        return -float(np.mean(law.log_density(residuals)))

    bounds = [(-10.0, 1.0), tuple(np.log(_FREEDOMS))]
    found = scipy.optimize.minimize(
        cost, np.array([-0.3, math.log(5.0)]), method="L-BFGS-B", bounds=bounds
    )
    shift, freedom = found.x
    return Student(scale * math.exp(shift), math.exp(freedom))
