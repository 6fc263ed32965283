"""A multilayer perceptron with ghost batch norm in NumPy float64, trained ghost by ghost.

Weights are a dict: "W0", "b0", "scale0", "shift0" of the first hidden layer, and so on; the last
layer has W and b alone. A model without batch norm has no scales and shifts. Running statistics
are a list of (mean, variance), one per hidden layer with batch norm.
"""

import numpy as np

EPSILON = 1e-5


def ghosts_of(batch, size, policy, batch_size):
    """A batch's examples as a list of ghosts; `batch_size` is that of a batch not cut short."""
    batch = list(batch)
    if policy == "even":
        return [list(part) for part in np.array_split(batch, int(np.ceil(len(batch) / size)))]
    if policy == "chunk":
        size = int(np.ceil(len(batch) / max(1, batch_size // size)))
    ghosts = [batch[k : k + size] for k in range(0, len(batch), size)]
    if policy == "drop" and len(ghosts) > 1 and len(ghosts[-1]) < size:
        ghosts.pop()
    return ghosts


def last_layer(weights):
    return sum(name.startswith("W") for name in weights) - 1


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def ghost_pass(weights, x, y, factors):
    """(Σ_i f_i ℓ_i of one ghost, its gradient, (mean, biased variance, n) of every layer)."""
    last, n = last_layer(weights), len(y)
    tape, statistics, a = [], [], x.reshape(len(x), -1)
    for k in range(last):
        z = a @ weights[f"W{k}"] + weights[f"b{k}"]
        mean = variance = z_hat = None
        before = z
        if f"scale{k}" in weights:
            mean = z.sum(axis=0) / n
            variance = ((z - mean) ** 2).sum(axis=0) / n
            z_hat = (z - mean) / np.sqrt(variance + EPSILON)
            before = weights[f"scale{k}"] * z_hat + weights[f"shift{k}"]
            statistics.append((mean, variance, n))
        tape.append((a, z, mean, variance, z_hat, before))
        a = np.maximum(before, 0.0)
    p = softmax(a @ weights[f"W{last}"] + weights[f"b{last}"])
    rows = np.arange(n)
    loss = -(factors * np.log(p[rows, y])).sum()
    back = p.copy()
    back[rows, y] -= 1.0
    back *= factors[:, None]
    gradient = {f"W{last}": a.T @ back, f"b{last}": back.sum(axis=0)}
    back = back @ weights[f"W{last}"].T
    for k in reversed(range(last)):
        a, z, mean, variance, z_hat, before = tape[k]
        back = back * (before > 0)
        if z_hat is not None:
            gradient[f"scale{k}"] = (back * z_hat).sum(axis=0)
            gradient[f"shift{k}"] = back.sum(axis=0)
            # z enters its normalised value directly, through the variance and through the mean.
            d_hat = back * weights[f"scale{k}"]
            d_variance = (d_hat * (z - mean)).sum(axis=0) * -0.5 * (variance + EPSILON) ** -1.5
            d_mean = -(d_hat / np.sqrt(variance + EPSILON)).sum(axis=0)
            d_mean = d_mean - d_variance * 2.0 * (z - mean).sum(axis=0) / n
            back = d_hat / np.sqrt(variance + EPSILON)
            back = back + d_variance * 2.0 * (z - mean) / n + d_mean / n
        gradient[f"W{k}"] = a.T @ back
        gradient[f"b{k}"] = back.sum(axis=0)
        back = back @ weights[f"W{k}"].T
    return loss, gradient, statistics


def loss_and_gradient(weights, ghosts, x, y, factors=None):
    """Mean over the batch's examples, its gradient, and every ghost's statistics in order."""
    factors = np.ones(len(y)) if factors is None else factors
    total = sum(len(ghost) for ghost in ghosts)
    loss, statistics = 0.0, []
    gradient = {name: np.zeros_like(w) for name, w in weights.items()}
    for ghost in ghosts:
        part, more, new = ghost_pass(weights, x[ghost], y[ghost], factors[ghost])
        loss += part / total
        for name in gradient:
            gradient[name] += more[name] / total
        statistics.append(new)
    return loss, gradient, statistics


def evaluated(weights, running, x, y):
    """(mean loss, fraction of wrong labels) with the running statistics."""
    last, a = last_layer(weights), x.reshape(len(x), -1)
    for k in range(last):
        a = a @ weights[f"W{k}"] + weights[f"b{k}"]
        if f"scale{k}" in weights:
            mean, variance = running[k]
            a = (a - mean) / np.sqrt(variance + EPSILON)
            a = weights[f"scale{k}"] * a + weights[f"shift{k}"]
        a = np.maximum(a, 0.0)
    p = softmax(a @ weights[f"W{last}"] + weights[f"b{last}"])
    return -np.log(p[np.arange(len(y)), y]).mean(), (p.argmax(axis=1) != y).mean()


def fresh_statistics(weights):
    layers = range(sum(name.startswith("scale") for name in weights))
    shapes = [weights[f"scale{k}"].shape for k in layers]
    return [(np.zeros(shape), np.ones(shape)) for shape in shapes]


def unbiased(variance, n):
    return variance * n / (n - 1) if n > 1 else 0.0 * variance


def folded(running, ghosts, mode, decay):
    """One layer's running (mean, variance) after its ghosts' (mean, biased variance, n)."""
    mean, variance = running
    eta, many = 1.0 - decay, len(ghosts)
    if mode in ("sequential", "divided"):
        eta = eta / many if mode == "divided" else eta
        for new, biased, n in ghosts:
            mean = (1.0 - eta) * mean + eta * new
            variance = (1.0 - eta) * variance + eta * unbiased(biased, n)
        return mean, variance
    if mode == "composite":
        mean, variance = (1.0 - eta) ** many * mean, (1.0 - eta) ** many * variance
        for number, (new, biased, n) in enumerate(ghosts, 1):
            weight = eta * (1.0 - eta) ** (many - number)
            mean = mean + weight * new
            variance = variance + weight * unbiased(biased, n)
        return mean, variance
    assert mode == "composite-printed"
    mean, deviation = (1.0 - eta) ** many * mean, (1.0 - eta) ** many * np.sqrt(variance)
    for number, (new, biased, _) in enumerate(ghosts, 1):
        weight = eta * (1.0 - eta) ** number
        mean = mean + weight * new
        deviation = deviation + weight * np.sqrt(biased)
    return mean, deviation**2


def averaged(weights, ghosts, x, y):
    """Mean over equal ghosts of the statistics at these weights, per layer."""
    _, _, statistics = loss_and_gradient(weights, ghosts, x, y)
    layers = []
    for k in range(len(statistics[0])):
        means = [ghost[k][0] for ghost in statistics]
        variances = [unbiased(ghost[k][1], ghost[k][2]) for ghost in statistics]
        layers.append((sum(means) / len(means), sum(variances) / len(variances)))
    return layers


class Optimizer:
    """SGD with a momentum buffer, or Adam; `decay` is how weight decay enters.

    Args:
        everything: whether biases, scales and shifts decay as well.
        clip, normalize, clip_updates: longest length of a gradient (None: any), whether shorter
            ones are stretched to it, and for how many updates (None: all).
    """

    def __init__(
        self,
        *,
        name="sgd",
        form="trace",
        nesterov=False,
        decay="coupled",
        everything=True,
        clip=None,
        normalize=False,
        clip_updates=None,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
    ):
        self.name, self.form, self.nesterov = name, form, nesterov
        self.decay, self.everything = decay, everything
        self.clip, self.normalize, self.clip_updates = clip, normalize, clip_updates
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.updates, self.first, self.second = 0, {}, {}

    def empty(self):
        self.first = {}

    def shortened(self, gradient):
        acts = self.clip is not None
        acts = acts and (self.clip_updates is None or self.updates < self.clip_updates)
        length = np.sqrt(sum((g**2).sum() for g in gradient.values()))
        if not acts or not length or (length <= self.clip and not self.normalize):
            return gradient
        return {name: g * self.clip / length for name, g in gradient.items()}

    def step(self, weights, gradient, rate, momentum, weight_decay):
        """The weights after one update."""
        gradient = self.shortened(gradient)
        self.updates += 1
        after = {}
        for name, w in weights.items():
            amount = weight_decay if self.everything or name.startswith("W") else 0.0
            g = gradient[name] + amount * w if self.decay == "coupled" else gradient[name]
            after[name] = w + self.increment(name, g, rate, momentum)
            if self.decay == "decoupled":
                after[name] = after[name] - rate * amount * w
            if self.decay == "independent":
                after[name] = after[name] - amount * w
        return after

    def increment(self, name, g, rate, momentum):
        v = self.first.get(name, 0.0 * g)
        if self.name != "sgd":
            # Kingma & Ba 2015, algorithm 1.
            u = self.second.get(name, 0.0 * g)
            v = self.beta1 * v + (1.0 - self.beta1) * g
            u = self.beta2 * u + (1.0 - self.beta2) * g**2
            self.first[name], self.second[name] = v, u
            v = v / (1.0 - self.beta1**self.updates)
            u = u / (1.0 - self.beta2**self.updates)
            return -rate * v / (np.sqrt(u) + self.epsilon)
        if self.form == "velocity":
            v = momentum * v - rate * g
            self.first[name] = v
            return momentum * v - rate * g if self.nesterov else v
        if self.form == "dampened":
            g = (1.0 - momentum) * g
        v = momentum * v + g
        self.first[name] = v
        return -rate * (g + momentum * v if self.nesterov else v)


def train(weights, updates, x, y, optimizer, *, mode="sequential", decay=0.9):
    """[(weights, running statistics)] before the first update and after every one.

    Args:
        updates: a dict per update: "ghosts", "rate", "momentum", "weight_decay", and where they
            apply "empty" (the momentum buffer, before the update), "factors" and "labels".
    """
    running = fresh_statistics(weights)
    trajectory = [(weights, running)]
    for update in updates:
        labels = update.get("labels", y)
        _, gradient, statistics = loss_and_gradient(
            weights, update["ghosts"], x, labels, update.get("factors")
        )
        if update.get("empty"):
            optimizer.empty()
        weights = optimizer.step(
            weights, gradient, update["rate"], update["momentum"], update["weight_decay"]
        )
        running = [
            folded(layer, [ghost[k] for ghost in statistics], mode, decay)
            for k, layer in enumerate(running)
        ]
        trajectory.append((weights, running))
    return trajectory
