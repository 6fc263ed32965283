"""Every network's forward pass in NumPy float64: sums over window offsets, ghost by ghost.

Strides, paddings, pooling and the places of norms and dropout are those of the networks' sources,
written out here; a model gives its weights alone, by the names of its fields.
"""

import numpy as np

EPSILON = 1e-5
WITHOUT_NORM = ("multilayer-perceptron", "alexnet")
VGG_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def forward(name, options, model, x, counts, ghosts, *, running=None, drop=None):
    """(logits, [(mean, biased variance) of every batch norm, each (ghosts, features)]).

    Args:
        options: width, depth and whatever else differs from the family's defaults.
        counts: 1 for an example and 0 for padding.
        running: (mean, variance) of every batch norm, for evaluation.
        drop: stands for dropout, (x, probability) -> x; by default nothing is dropped.
    """
    normed = options.get("batch_norm", name not in WITHOUT_NORM)
    batch = Batch(np.asarray(counts) > 0, ghosts, normed, running, drop)
    network = {
        "multilayer-perceptron": multilayer_perceptron,
        "ten-layer-cnn": ten_layer_cnn,
        "c1": shallow_cnn,
        "c3": shallow_cnn,
        "resnet": resnet,
        "wide-resnet": resnet,
        "vgg": vgg,
        "alexnet": alexnet,
    }[name]
    if options.get("block") == "pre-activation":
        network = wide_resnet
    return network(options, model, array(x), batch), batch.statistics


class Batch:
    """What the examples of a batch share; norms are met in the order of a model's fields."""

    def __init__(self, real, ghosts, normed, running, drop):
        self.real, self.ghosts, self.normed = real, ghosts, normed
        self.running = None if running is None else iter(running)
        self.drop = drop or (lambda x, probability: x)
        self.statistics = []

    def norm(self, layer, x):
        if not self.normed:
            return x
        scale, shift = array(layer.scale), array(layer.shift)
        if self.running is not None:
            mean, variance = map(array, next(self.running))
            return scale * (x - mean) / np.sqrt(variance + EPSILON) + shift
        y, moments = [], []
        for values, real in zip(
            np.split(x, self.ghosts), np.split(self.real, self.ghosts), strict=True
        ):
            seen = values[real].reshape(-1, x.shape[-1])
            mean = seen.sum(axis=0) / len(seen)
            variance = ((seen - mean) ** 2).sum(axis=0) / len(seen)
            y.append(scale * (values - mean) / np.sqrt(variance + EPSILON) + shift)
            moments.append((mean, variance))
        self.statistics.append(tuple(np.stack(m) for m in zip(*moments, strict=True)))
        return np.concatenate(y)


def array(a):
    return np.asarray(a, np.float64)


def relu(x):
    return np.maximum(x, 0.0)


def flat(x):
    return x.reshape(len(x), -1)


def biased(y, layer):
    return y if layer.bias is None else y + array(layer.bias)


def product(layer, x):
    return biased(x @ array(layer.weight), layer)


def shifted(x, window, stride):
    """(i, j, the pixels i below and j to the right of every window's corner)."""
    rows, columns = ((size - window) // stride + 1 for size in x.shape[1:3])
    for i in range(window):
        for j in range(window):
            yield i, j, x[:, i : i + stride * rows : stride, j : j + stride * columns : stride]


def convolved(layer, x, window=3, *, stride=1, padding=1):
    weight = array(layer.weight)
    assert weight.shape[:2] == (window, window)
    x = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    return biased(sum(seen @ weight[i, j] for i, j, seen in shifted(x, window, stride)), layer)


def max_pool(x, window, stride):
    return np.max([seen for _, _, seen in shifted(x, window, stride)], axis=0)


def average_pool(x, window):
    return np.mean([seen for _, _, seen in shifted(x, window, window)], axis=0)


def adaptive_average(x, size):
    """Means over size × size places as wide as needed, which overlap where size does not divide."""
    n, height, width, channels = x.shape
    y = np.empty((n, size, size, channels))
    for i in range(size):
        for j in range(size):
            top, bottom = np.floor(i * height / size), np.ceil((i + 1) * height / size)
            left, right = np.floor(j * width / size), np.ceil((j + 1) * width / size)
            y[:, i, j] = x[:, int(top) : int(bottom), int(left) : int(right)].mean(axis=(1, 2))
    return y


def multilayer_perceptron(options, model, x, batch):
    x, depth = flat(x), options["depth"]
    norms = model.norms or [None] * depth
    for k in range(depth):
        y = x @ array(model.weights[k]) + array(model.biases[k])
        x = batch.drop(relu(batch.norm(norms[k], y)), options.get("dropout", 0.0))
    return x @ array(model.weights[depth]) + array(model.biases[depth])


def shallow_cnn(options, model, x, batch):
    dropout = options.get("dropout", 0.5)
    for k in range(2):
        x = max_pool(convolved(model.convolutions[k], x, 5, padding=2), 3, 2)
        x = relu(batch.norm(model.norms[k], x))
    x = flat(x)
    for k in range(2):
        x = relu(batch.norm(model.norms[2 + k], product(model.dense[k], x)))
        x = batch.drop(x, dropout)
    return product(model.dense[2], x)


def ten_layer_cnn(options, model, x, batch):
    for stage in range(3):
        for k in range(3 * stage, 3 * stage + 3):
            x = relu(batch.norm(model.norms[k], convolved(model.convolutions[k], x)))
        x = average_pool(x, 2) if stage < 2 else x.mean(axis=(1, 2))
    return product(model.dense, x)


def vgg(options, model, x, batch):
    for stage, number in enumerate(VGG_STAGES[options["depth"]]):
        for k in range(number):
            y = convolved(model.convolutions[stage][k], x)
            x = relu(batch.norm(model.norms[stage][k], y))
        x = max_pool(x, 2, 2)
    return product(model.dense, x.mean(axis=(1, 2)))


def alexnet(options, model, x, batch):
    dropout = options.get("dropout", 0.5)
    windows, strides, paddings = (11, 5, 3, 3, 3), (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)
    for k in range(5):
        y = convolved(model.convolutions[k], x, windows[k], stride=strides[k], padding=paddings[k])
        x = relu(batch.norm(model.norms[k], y))
        if k in (0, 1, 4):
            x = max_pool(x, 3, 2)
    x = flat(adaptive_average(x, 6))
    for k in range(2):
        x = product(model.dense[k], batch.drop(x, dropout))
        x = relu(batch.norm(model.norms[5 + k], x))
    return product(model.dense[2], x)


def stages(options, model):
    """(block, its channels, its stride) in order; n blocks per stage at depth 6n + 2 or 6n + 4."""
    n = (options["depth"] - 2) // 6
    for stage in range(3):
        for k in range(n):
            stride = 2 if stage > 0 and k == 0 else 1
            yield model.blocks[stage * n + k], options["width"] * 2**stage, stride


def resnet(options, model, x, batch):
    x = relu(batch.norm(model.stem_norm, convolved(model.stem, x)))
    for block, channels, stride in stages(options, model):
        y = relu(batch.norm(block.first_norm, convolved(block.first, x, stride=stride)))
        y = batch.norm(block.second_norm, convolved(block.second, y))
        if stride != 1 or x.shape[-1] != channels:
            x = convolved(block.shortcut, x, 1, stride=stride, padding=0)
            x = batch.norm(block.shortcut_norm, x)
        x = relu(x + y)
    return product(model.dense, x.mean(axis=(1, 2)))


def wide_resnet(options, model, x, batch):
    dropout = options.get("dropout", 0.0)
    x = convolved(model.stem, x)
    for block, channels, stride in stages(options, model):
        y = relu(batch.norm(block.first_norm, x))
        if x.shape[-1] != channels:
            x = convolved(block.shortcut, y, 1, stride=stride, padding=0)
        y = relu(batch.norm(block.second_norm, convolved(block.first, y, stride=stride)))
        x = x + convolved(block.second, batch.drop(y, dropout))
    x = relu(batch.norm(model.last_norm, x))
    return product(model.dense, x.mean(axis=(1, 2)))
