"""How block formats hold ternary weights. A code is a weight plus one: 0, 1 or 2.

Each `pack_*` takes the codes of whole blocks, one a row, and the scale as f16 bytes; it returns the bytes of the blocks,
one a row. The weights that they stand for are exactly code - 1 times that f16 scale.
"""

import numpy as np


def unpack_i2_s(data, count):
    """Codes of the `count` weights of an I2_S tensor (128 of them in 32 bytes, the first in the high bits)."""
    fields = data[: count // 4].reshape(-1, 1, 32) >> np.array([6, 4, 2, 0], np.uint8).reshape(1, 4, 1)
    return (fields & 3).reshape(-1)


def pack_tq2_0(codes, scale):
    """TQ2_0: 256 weights of 2 bits, then the scale."""
    return np.hstack([quarters(codes), repeated(scale, len(codes))])


def pack_tq1_0(codes, scale):
    """TQ1_0: 240 weights, five to a byte, 16 more, four to a byte, then the scale."""
    five = [codes[:, :160].reshape(-1, 5, 32), codes[:, 160:240].reshape(-1, 5, 16)]
    four = codes[:, 240:].reshape(-1, 4, 4)
    numbers = [base_three(digits) for digits in five] + [base_three(four) * 3]
    stored = [((number * 256 + 242) // 243).astype(np.uint8) for number in numbers]
    return np.hstack([*stored, repeated(scale, len(codes))])


def pack_q2_k(codes, scale):
    """Q2_K: 16 pairs of a scale and a minimum, all one, 256 weights of 2 bits, then what multiplies scales and minima."""
    ones = np.full((len(codes), 16), 0x11, np.uint8)
    return np.hstack([ones, quarters(codes), repeated(scale * 2, len(codes))])


def pack_q4_k(codes, scale):
    """Q4_K: what multiplies scales and minima, 8 scales and 8 minima of 6 bits, all one, then 256 weights of 4 bits."""
    ones = repeated(bytes([1] * 8 + [0x11] * 4), len(codes))
    halves = codes.reshape(-1, 4, 2, 32)
    nibbles = (halves[:, :, 0] | halves[:, :, 1] << 4).reshape(-1, 128)
    return np.hstack([repeated(scale * 2, len(codes)), ones, nibbles])


def pack_q4_0(codes, scale):
    """Q4_0: the scale, then 32 weights plus 8 in 4 bits each."""
    halves = (codes + 7).reshape(-1, 2, 16)
    return np.hstack([repeated(scale, len(codes)), halves[:, 0] | halves[:, 1] << 4])


def quarters(codes):
    """Two bits a weight: of each 128, the first 32 in the low bits."""
    fields = codes.reshape(-1, 2, 4, 32)
    return (fields[:, :, 0] | fields[:, :, 1] << 2 | fields[:, :, 2] << 4 | fields[:, :, 3] << 6).reshape(-1, 64)


def base_three(digits):
    """The numbers whose digits, the most significant first, lie along the second axis."""
    number = np.zeros((len(digits), digits.shape[2]), np.uint32)
    for position in range(digits.shape[1]):
        number = number * 3 + digits[:, position]
    return number


def repeated(data, rows):
    """`data` in each of so many rows."""
    return np.tile(np.frombuffer(data, np.uint8), (rows, 1))


PACKERS = {"TQ2_0": pack_tq2_0, "TQ1_0": pack_tq1_0, "Q2_K": pack_q2_k, "Q4_K": pack_q4_k, "Q4_0": pack_q4_0}
