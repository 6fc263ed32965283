"""Random words as a function of a key and a counter, in 32-bit arithmetic: Threefry-2x32.

    (word 0, word 1) = Threefry(key, counter),   key and counter of two 32-bit words each

A bijection of the counters for every key, out of additions, rotations and exclusive-ors. There is
no state: a walker's word at a step is computed where it is needed, in registers, and does not
depend on how walkers and environments are grouped.

Why it is sound: its authors ran the family through SmallCrush, Crush and BigCrush (TestU01), also
on words interleaved from many keys and counters, and know of no flaw from 13 rounds on; the 20
rounds used here leave a margin of seven. It is the generator behind jax.random, whose words it
reproduces; written out in plain operations, a compiler fuses it with the walk.

Source: Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC'11;
the number of rounds: threefry.h of their Random123 library.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

ROUNDS = 20
_PARITY = 0x1BD11BDA  # of the key schedule, as in Skein
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)

# The first word of a stream's entropy; a stream added later takes a new number.
_DISCRETE_WALK = 1


def threefry(
    key: tuple[jax.Array, jax.Array], counter: tuple[jax.Array, jax.Array], rounds: int = ROUNDS
) -> tuple[jax.Array, jax.Array]:
    """Two random words for every (key, counter); the four arrays broadcast against each other.

    Args:
        key: two uint32 arrays.
        counter: two uint32 arrays.
        rounds: fewer than 13 are for tests that must fail.

    Returns:
        Two uint32 arrays.

    Source: Salmon et al. 2011, section 3.2.
    """
    parity = jnp.uint32(_PARITY)
    schedule = (key[0], key[1], key[0] ^ key[1] ^ parity)
    x, y = counter[0] + schedule[0], counter[1] + schedule[1]
    for done in range(1, rounds + 1):
        turn = _ROTATIONS[(done - 1) % 8]
        x = x + y
        y = ((y << jnp.uint32(turn)) | (y >> jnp.uint32(32 - turn))) ^ x
        if done % 4 == 0:
            part = done // 4
            x = x + schedule[part % 3]
            y = y + schedule[(part + 1) % 3] + jnp.uint32(part)
    return x, y


def environment_keys(seed: int, environments: NDArray[np.uint32]) -> tuple[jax.Array, jax.Array]:
    """Keys of the walks in each environment: a function of (seed, index of the environment).

    Two of E environments share a key with a probability of about E²/2^65.
    """
    words = np.random.SeedSequence([_DISCRETE_WALK, seed]).generate_state(2, np.uint32)
    nothing = np.zeros_like(environments)
    return _compiled((words[0], words[1]), (environments, nothing))


_compiled = jax.jit(threefry)
