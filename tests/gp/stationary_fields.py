"""What the fast solvers are held against: draws, matrices, kriging by its definition.

Everything here is plain NumPy on all pairs of pixels, for small grids in 64 bits.
"""

import jax
import numpy as np

from dipgp import architecture, kernels


def deep_prior(depth, sigma=2.0):
    """The covariance of a plain convolutional network, scaled to variance 1."""
    net = architecture.conv_net(depth)
    k = kernels.covariance(net, input=kernels.gaussian(sigma))
    return kernels.normalize(k)


def hourglass():
    """The covariance of two scales of the reference network."""
    net = architecture.skip_net(2, output=architecture.Linear())
    return kernels.covariance(net, input=kernels.uniform())


def covariance_matrix(covariance, shape):
    """K between all pixels of a grid, row by row: (H W, H W)."""
    points = np.argwhere(np.ones(shape)).astype(float)
    return np.asarray(covariance(points[:, None] - points[None]), np.float64)


def level_far_away(covariance):
    """K(inf)."""
    return float(covariance(np.array([1e6, 1e6])))


def draw(covariance, shape, seed, count=1):
    """Exact samples of a Gaussian process on a grid: (count, H, W)."""
    values, vectors = np.linalg.eigh(covariance_matrix(covariance, shape))
    root = vectors * np.sqrt(np.maximum(values, 0))
    white = np.random.default_rng(seed).standard_normal((count, len(values)))
    return (white @ root.T).reshape(count, *shape)


def random_mask(shape, share, seed=0):
    """Keeps a share of the pixels, a fixed number of them."""
    order = np.random.default_rng(seed).permutation(np.prod(shape))
    return (order < round(share * order.size)).reshape(shape)


def mask_with_hole(shape):
    """Misses a rectangle of more than half the pixels, off the centre."""
    mask = np.ones(shape, bool)
    height, width = shape
    mask[height // 8 : -height // 8, width // 5 : -1] = False
    return mask


def krige(covariance, values, mask, noise_std, colours=None):
    """Ordinary kriging with a Lagrange multiplier for each channel's unknown level.

    Minimises the error of linear predictors whose weights sum to one (equivalently to
    zero around the level): with C the covariance of the channels,

        [ C x K + I x D   I x 1 ] [ a ]   [ y ]
        [ I x 1^T         0     ] [ m ] = [ 0 ],      mean = (C x K) a + m.

    Args:
      covariance: K.
      values: (H, W, C).
      mask: (H, W).
      noise_std: (H, W) or scalar.
      colours: (C, C); the identity by default.

    Returns:
      Mean (H, W, C) and levels (C,).
    """
    shape, count = values.shape[:2], values.shape[2]
    colours = np.eye(count) if colours is None else np.asarray(colours)
    seen = np.flatnonzero(mask)
    every_pair = covariance_matrix(covariance, shape)
    noise = np.broadcast_to(np.square(noise_std), shape).ravel()[seen]
    signal = np.kron(colours, every_pair[np.ix_(seen, seen)])
    signal += np.kron(np.eye(count), np.diag(noise))
    levels = np.kron(np.eye(count), np.ones((seen.size, 1)))
    system = np.block([[signal, levels], [levels.T, np.zeros((count, count))]])
    observed = values.reshape(-1, count)[seen].T.ravel()
    solution = np.linalg.solve(system, np.concatenate([observed, np.zeros(count)]))
    weights, level = solution[:-count], solution[-count:]
    field = np.kron(colours, every_pair[:, seen]) @ weights
    return (field.reshape(count, -1) + level[:, None]).T.reshape(values.shape), level


def open_covariance(covariance, mask, noise_std):
    """Covariance of the errors of ordinary kriging between all pixels: (H W, H W).

    From the same equations with a Lagrange multiplier as `krige`, for one channel:
    K - [k; 1]^T [[K + D, 1], [1^T, 0]]^-1 [k; 1].
    """
    shape = mask.shape
    seen = np.flatnonzero(mask)
    every_pair = covariance_matrix(covariance, shape)
    noise = np.broadcast_to(np.square(noise_std), shape).ravel()[seen]
    ones = np.ones((seen.size, 1))
    system = np.block(
        [
            [every_pair[np.ix_(seen, seen)] + np.diag(noise), ones],
            [ones.T, 0 * ones[:1]],
        ]
    )
    cross = np.concatenate([every_pair[seen], np.ones((1, every_pair.shape[0]))])
    return every_pair - cross.T @ np.linalg.solve(system, cross)


def matrix_of(linear_map, shape):
    """A linear map on images of a shape (H, W, C), column by column: (h w c, H W C)."""
    columns = np.eye(np.prod(shape)).reshape(-1, *shape)
    seen = np.asarray(jax.vmap(linear_map)(columns))
    return seen.reshape(len(columns), -1).T


def krige_through(matrix, covariance, shape, values, mask, noise_std, colours=None):
    """Ordinary kriging of an image of which the product with a matrix A is seen.

    The equations of `krige` and `open_covariance`, pixel by pixel and in each pixel
    colour by colour: with P = K x C and a level for each colour, L = 1 x I,

        [ A P A^T + D   A L ] [ a ]   [ y ]
        [ (A L)^T       0   ] [ m ] = [ 0 ],      mean = P A^T a + L m.

    Args:
      matrix: (h w c, H W C), as `matrix_of` returns it.
      covariance: K.
      shape: (H, W, C) of the image.
      values: (h, w, c).
      mask: (h, w).
      noise_std: (h, w) or scalar.
      colours: C; the identity by default.

    Returns:
      Mean (H, W, C), levels (C,), and what is left open (H W C, H W C).
    """
    count = shape[2]
    colours = np.eye(count) if colours is None else np.asarray(colours)
    prior = np.kron(covariance_matrix(covariance, shape[:2]), colours)
    levels = np.kron(np.ones((shape[0] * shape[1], 1)), np.eye(count))
    spread = np.broadcast_to(np.square(noise_std), mask.shape)[:, :, None]
    seen = np.flatnonzero(np.broadcast_to(mask[:, :, None], values.shape))
    noise = np.broadcast_to(spread, values.shape).ravel()[seen]
    rows = matrix[seen]
    system = np.block(
        [
            [rows @ prior @ rows.T + np.diag(noise), rows @ levels],
            [(rows @ levels).T, np.zeros((count, count))],
        ]
    )
    observed = np.concatenate([values.ravel()[seen], np.zeros(count)])
    cross = np.concatenate([rows @ prior, levels.T])
    solution = np.linalg.solve(system, observed)
    left = prior - cross.T @ np.linalg.solve(system, cross)
    return (cross.T @ solution).reshape(shape), solution[-count:], left
