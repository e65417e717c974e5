"""Checks the block formats of ternary.py against the `gguf` package.

    python3 benches/peers/selftest.py

`compare.py` makes the folder whose Python has what this needs: target/peers/venv/bin/python, for example.
"""

import unittest

import gguf
import numpy as np

from gguf_file import BLOCKS, TYPES
from ternary import PACKERS, unpack_i2_s

BLOCKS_TESTED = 64


def random_codes(weights):
    """Codes of so many weights a block."""
    return np.random.default_rng(1).integers(0, 3, (BLOCKS_TESTED, weights), np.uint8)


class Formats(unittest.TestCase):
    """Packed codes mean what they should."""

    def test_packed_blocks_are_read_as_what_was_packed(self):
        scale = np.float16(0.0261)
        for name, pack in PACKERS.items():
            weights, size = BLOCKS[TYPES[name]]
            codes = random_codes(weights)
            blocks = pack(codes, scale.tobytes())
            self.assertEqual(blocks.shape, (BLOCKS_TESTED, size), name)
            read = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name])
            np.testing.assert_array_equal(read, (codes.astype(np.float32) - 1) * np.float32(scale), name)

    def test_ternary_blocks_are_those_that_the_package_writes(self):
        for name in ("TQ1_0", "TQ2_0"):
            codes = random_codes(256)
            values = (codes.astype(np.float32) - 1) * np.float32(0.5)
            expected = gguf.quants.quantize(values, gguf.GGMLQuantizationType[name])
            np.testing.assert_array_equal(PACKERS[name](codes, np.float16(0.5).tobytes()), expected, name)

    def test_i2_s_is_unpacked(self):
        codes = random_codes(4).reshape(-1)
        packed = bytearray(64)
        for index, code in enumerate(codes):
            packed[32 * (index // 128) + index % 32] |= int(code) << (6 - 2 * (index % 128 // 32))
        read = unpack_i2_s(np.frombuffer(bytes(packed), np.uint8), len(codes))
        np.testing.assert_array_equal(read, codes)


if __name__ == "__main__":
    unittest.main()
