"""What is measured between updates: loss, error, the weights' way, the gradient's moments."""

from collections.abc import Callable
from functools import partial
from math import asin, sqrt
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from noisescale.training.batches import Batches
from noisescale.training.ghost_batch_norm import Statistics, average
from noisescale.training.mesh import divided
from noisescale.training.models import Pass
from noisescale.training.optimizers import Hyper, Rule
from noisescale.training.parameters import Parameter
from noisescale.training.pytree import PyTree
from noisescale.training.steps import Batch, TrainState, cross_entropy, part_of

# Examples per forward pass of an evaluation; a last part is padded to it.
EVALUATION_CHUNK = 8192
# Of a convolutional network, whose activations are many: on a CPU they should fit its cache.
CONVOLUTIONAL_CHUNK, CONVOLUTIONAL_CHUNK_ON_CPU = 1024, 128
# One projection for all runs, so that any two of them can be compared.
_SKETCH_STREAM = 4


class Way(NamedTuple):
    """Where weights lie against the initial ones.

    Args:
        distance: ‖w − w_0‖₂.
        norm: ‖w‖₂.
        angle: between w and w_0, in radians; None if either is 0.
    """

    distance: float
    norm: float
    angle: float | None


class Squares(NamedTuple):
    """Per tensor: ‖w − w_0‖², ‖w‖², ‖w_0‖² and, of the last update, ‖Δw‖²."""

    moved: Any
    norm: Any
    initial: Any
    update: Any


def _square(tree: PyTree) -> jax.Array:
    return jnp.sum(jnp.stack([jnp.sum(a**2) for a in jax.tree.leaves(tree)]))


def _squares(weights: PyTree, initial: PyTree, before: PyTree) -> Squares:
    w, w_0, w_1 = (jax.tree.leaves(tree) for tree in (weights, initial, before))
    return Squares(
        jnp.stack([jnp.sum((a - b) ** 2) for a, b in zip(w, w_0, strict=True)]),
        jnp.stack([jnp.sum(a**2) for a in w]),
        jnp.stack([jnp.sum(a**2) for a in w_0]),
        jnp.stack([jnp.sum((a - b) ** 2) for a, b in zip(w, w_1, strict=True)]),
    )


class Probes:
    """Measurements of a training state; each is one compiled program.

    Args:
        static: the model without its arrays.
        parameters: its tensors.
        chunk: examples per forward pass of an evaluation.
        loops: whether several gradients are taken in one compiled loop, or one call each.
    """

    def __init__(
        self,
        static: PyTree,
        rule: Rule,
        parameters: tuple[Parameter, ...],
        *,
        chunk: int = EVALUATION_CHUNK,
        loops: bool = True,
    ) -> None:
        self._parameters, self._chunk, self._loops = parameters, chunk, loops
        self.mesh = rule.mesh

        def sums(
            weights: PyTree,
            statistics: tuple[Statistics, ...],
            images: jax.Array,
            labels: jax.Array,
            counts: jax.Array,
        ) -> tuple[jax.Array, jax.Array]:
            how = Pass(counts, 1, None, statistics, rule.dtype)
            images = divided(rule.mesh, images)
            logits, _ = eqx.combine(weights, static)(rule.inputs(images), how)
            wrong = jnp.argmax(logits, axis=1) != labels
            return jnp.sum(counts * cross_entropy(logits, labels)), jnp.sum(counts * wrong)

        def mean_loss(
            statistics: tuple[Statistics, ...],
            images: jax.Array,
            labels: jax.Array,
            weights: PyTree,
        ) -> jax.Array:
            counts = jnp.ones(len(labels))
            return sums(weights, statistics, images, labels, counts)[0] / len(labels)

        def averages(weights: PyTree, images: jax.Array, ghosts: int) -> Any:
            images = divided(rule.mesh, images)
            how = Pass(jnp.ones(len(images)), ghosts, None, None, rule.dtype)
            _, moments = eqx.combine(weights, static)(rule.inputs(images), how)
            return [average(m) for m in moments]

        def one_moment(
            weights: PyTree,
            images: jax.Array,
            labels: jax.Array,
            key: jax.Array,
            hyper: Hyper,
            total: PyTree,
            part: Batch,
        ) -> tuple[PyTree, jax.Array]:
            variance = hyper.noise_variance
            gradient, _ = part_of(static, rule, weights, images, labels, part, key, variance)
            size = jnp.sum(part.counts)
            small = _square(jax.tree.map(lambda g: g / size, gradient))
            return jax.tree.map(jnp.add, total, gradient), small

        def moments(
            weights: PyTree,
            images: jax.Array,
            labels: jax.Array,
            batch: Batch,
            key: jax.Array,
            hyper: Hyper,
        ) -> tuple[jax.Array, jax.Array]:
            one = partial(one_moment, weights, images, labels, key, hyper)
            zero = jax.tree.map(jnp.zeros_like, weights)
            total, small = jax.lax.scan(one, zero, batch)
            size = jnp.sum(batch.counts)
            return small, _square(jax.tree.map(lambda g: g / size, total))

        self._sums: Any = jax.jit(sums)
        self._mean_loss = mean_loss
        self._averages: Any = jax.jit(averages, static_argnums=2)
        self._moments: Any = jax.jit(moments)
        self._one_moment: Any = jax.jit(one_moment)
        self._squares: Any = jax.jit(_squares)
        self._sketch: Any = jax.jit(_sketch)
        self._sketch_plans: dict[int, tuple[jax.Array, jax.Array]] = {}

    def squares(self, weights: PyTree, initial: PyTree, before: PyTree) -> Squares:
        """Squared norms per tensor, in float64 from here on."""
        found = self._squares(weights, initial, before)
        return Squares(*(np.asarray(a, np.float64) for a in found))

    def way(self, squares: Squares, chosen: list[int] | slice = slice(None)) -> Way:
        """‖w − w_0‖, ‖w‖ and the angle, over the chosen tensors together.

        The angle is 2 asin(½ √((D² − (|w| − |w_0|)²)/(|w||w_0|))), exact for small ones too.
        """
        moved, norm, initial = (float(np.sum(a[chosen])) for a in squares[:3])
        lengths = sqrt(norm) * sqrt(initial)
        angle = None
        if lengths > 0 and np.isfinite(moved) and np.isfinite(lengths):
            chord = max(0.0, moved - (sqrt(norm) - sqrt(initial)) ** 2) / lengths
            angle = 2.0 * asin(min(1.0, 0.5 * sqrt(chord)))
        return Way(sqrt(moved), sqrt(norm), angle)

    def sketch(self, weights: PyTree, origin: PyTree | None, size: int) -> list[float]:
        """s with E‖s‖² = ‖w − w_origin‖² over random signs, standard deviation √(2/k) of it.

        s_b = Σ_{i in bucket b} ±(w − w_origin)_i: every weight has a random sign and lies in one
        of k random buckets, the same for all runs of a model. Sketches of one origin may be
        subtracted: ‖s − s'‖² estimates ‖w − w'‖².

        Args:
            origin: None for 0.
            size: k.

        Source: Charikar, Chen & Farach-Colton 2002 (count sketch).
        """
        if size not in self._sketch_plans:
            order, signs = sketch_plan(sum(p.size for p in self._parameters), size)
            self._sketch_plans[size] = jnp.asarray(order), jnp.asarray(signs)
        if origin is None:
            origin = jax.tree.map(jnp.zeros_like, weights)
        found = self._sketch(*self._sketch_plans[size], weights, origin)
        return [float(a) for a in np.asarray(found, np.float64)]

    def gradient_moments(
        self,
        state: TrainState,
        images: jax.Array,
        labels: jax.Array,
        batches: Batches,
        key: jax.Array,
        hyper: Hyper,
    ) -> tuple[float, float]:
        """(mean of |g_j|² over the parts j of a batch, |g|² of the whole), at the same weights.

        E|g_j|² = |G|² + tr Σ/b and E|g|² = |G|² + tr Σ/B: what analysis.gradient_noise starts
        from.

        Args:
            batches: one update's, filled, every micro-batch a part.

        Source: McCandlish et al. 2018, appendix A.1.
        """
        batch = Batch(*batches[:3])
        if self._loops:
            small, big = self._moments(state.weights, images, labels, batch, key, hyper)
            return float(np.mean(np.asarray(small, np.float64))), float(big)
        total, squares = jax.tree.map(jnp.zeros_like, state.weights), []
        for number in range(len(batch.indices)):
            part = Batch(*(a[number] for a in batch))
            total, square = self._one_moment(state.weights, images, labels, key, hyper, total, part)
            squares.append(float(square))
        size = float(np.sum(batch.counts))
        big = _square(jax.tree.map(lambda g: g / size, total))
        return float(np.mean(squares)), float(big)

    def loss_and_error(
        self,
        weights: PyTree,
        statistics: tuple[Statistics, ...],
        images: jax.Array,
        labels: jax.Array,
    ) -> tuple[float, float]:
        """Mean cross-entropy in nats, and the fraction of wrong labels."""
        total, chunk = len(labels), min(self._chunk, len(labels))
        loss = wrong = 0.0
        for start in range(0, total, chunk):
            # The last part is the last `chunk` examples; those seen already count 0.
            begin = min(start, total - chunk)
            counts = (np.arange(begin, begin + chunk) >= start).astype(np.float32)
            x, y = images, labels
            if chunk < total:
                x, y = images[begin : begin + chunk], labels[begin : begin + chunk]
            sums = self._sums(weights, statistics, x, y, counts)
            loss += float(sums[0])
            wrong += float(sums[1])
        return loss / total, wrong / total

    def mean_loss(
        self, statistics: tuple[Statistics, ...], images: jax.Array, labels: jax.Array
    ) -> Callable[[PyTree], jax.Array]:
        """L(w), the mean cross-entropy of these examples at fixed running statistics."""
        return jax.tree_util.Partial(self._mean_loss, statistics, images, labels)

    def recalibrated(
        self, weights: PyTree, images: jax.Array, order: NDArray[np.int32], ghost: int
    ) -> tuple[Statistics, ...]:
        """Batch norm's statistics at these weights, averaged over ghosts of training examples.

        Args:
            order: which examples, in what order; a last partial ghost is left out.
            ghost: G.

        Source: Wu & Johnson 2021, section 3 (precise batch norm).
        """
        ghosts = max(1, len(order) // ghost)
        at_once = max(1, min(ghosts, self._chunk // ghost))
        total = None
        for first in range(0, ghosts, at_once):
            number = min(at_once, ghosts - first)
            part = order[first * ghost : (first + number) * ghost]
            found = self._averages(weights, images[part], number)
            total = found if total is None else jax.tree.map(jnp.add, total, found)
        return tuple(Statistics(*(a / count for a in sums)) for count, sums in total or ())


def sketch_plan(number: int, size: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(which weight lies where, its sign): rows of a (k, ⌈P/k⌉) table, sign 0 for padding."""
    entropy = np.random.SeedSequence([_SKETCH_STREAM, number])
    rng = np.random.Generator(np.random.Philox(entropy))
    length = -(-number // size) * size
    order = np.zeros(length, np.int32)
    signs = np.zeros(length, np.float32)
    places = rng.permutation(length)[:number]
    order[places] = rng.permutation(number)
    signs[places] = 2.0 * rng.integers(0, 2, number) - 1.0
    return order.reshape(size, -1), signs.reshape(size, -1)


def _sketch(order: jax.Array, signs: jax.Array, weights: PyTree, origin: PyTree) -> jax.Array:
    leaves = zip(jax.tree.leaves(weights), jax.tree.leaves(origin), strict=True)
    flat = jnp.concatenate([(a - b).ravel() for a, b in leaves])
    return jnp.sum(flat[order] * signs, axis=1)
