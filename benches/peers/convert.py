"""Writes the weights of a synthetic model in a type that a peer reads.

    python convert.py SYNTHETIC.gguf TYPE OUT.gguf

TYPE is TQ2_0, TQ1_0, Q2_K or Q4_K. Ternary values stay as they are; their scale, one a matrix, is rounded to f16.
Embedding, head and norms are copied. A matrix whose rows are no multiple of 256 is an error for TQ2_0 and TQ1_0, and
becomes Q4_0 in the others. Afterwards the `gguf` package reads the new file, and all weights
are compared.
"""

import os
import struct
import sys

import gguf
import numpy as np

import gguf_file
from gguf_file import BLOCKS, I2_S, STRING, TYPES, U32, Reader, Tensor
from ternary import PACKERS, unpack_i2_s

# What llama.cpp calls the architecture, whatever its activation function.
ARCHITECTURE = "bitnet"
# `general.file_type` of each.
FILE_TYPES = {"TQ2_0": 37, "TQ1_0": 36, "Q2_K": 10, "Q4_K": 14}


def main(source, name, out):
    """Converts and checks; the file gets its name only then."""
    if name not in FILE_TYPES:
        raise ValueError(f"type {name} is none of {', '.join(FILE_TYPES)}")
    model = Model(source)
    tensors = [Tensor(t.name, t.shape, new_kind(t, name), 0) for t in model.reader.tensors]
    part = out + ".part"
    gguf_file.write(part, model.values(FILE_TYPES[name]), tensors, lambda index: model.encode(index, tensors[index].kind))
    checked = model.check(part)
    os.replace(part, out)
    print(f"{out}: {name}, {len(tensors)} tensors, {checked} ternary weights compared")


def new_kind(tensor, name):
    """The type that a tensor gets."""
    if tensor.kind != I2_S:
        return tensor.kind
    if tensor.shape[-1] % BLOCKS[TYPES[name]][0] == 0:
        return TYPES[name]
    if name.startswith("TQ"):
        raise ValueError(f"{tensor.name} has rows of {tensor.shape[-1]} weights; {name} needs a multiple of 256")
    return TYPES["Q4_0"]


class Model:
    """A synthetic model and its data."""

    def __init__(self, path):
        self.reader = Reader(path)
        self.data = np.memmap(path, np.uint8, mode="r")[self.reader.data_at :]

    def values(self, file_type):
        """The metadata for llama.cpp: other names, and another file type."""
        old = self.reader.text("general.architecture")
        values = {}
        for key, value in self.reader.values.items():
            values[key.replace(f"{old}.", f"{ARCHITECTURE}.", 1) if key.startswith(f"{old}.") else key] = value
        values["general.architecture"] = (STRING, gguf_file.string(ARCHITECTURE))
        values["general.file_type"] = (U32, struct.pack("<I", file_type))
        return values

    def bytes(self, tensor):
        """The bytes of a tensor."""
        return self.data[tensor.offset : tensor.offset + tensor.nbytes()]

    def codes(self, tensor):
        """Codes of an I2_S tensor, and its scale in f16."""
        data, count = self.bytes(tensor), tensor.count()
        scale = np.frombuffer(data[count // 4 : count // 4 + 4].tobytes(), np.float32)
        return unpack_i2_s(data, count), scale.astype(np.float16)

    def encode(self, index, kind):
        """A tensor's bytes in the new type."""
        tensor = self.reader.tensors[index]
        if kind == tensor.kind:
            return self.bytes(tensor)
        (name,) = (name for name, known in TYPES.items() if known == kind)
        codes, scale = self.codes(tensor)
        return PACKERS[name](codes.reshape(-1, BLOCKS[kind][0]), scale.tobytes()).reshape(-1)

    def check(self, path):
        """Compares the file at `path`, as the `gguf` package reads it, with this model; returns its ternary weights."""
        checked = 0
        for tensor, other in zip(self.reader.tensors, gguf.GGUFReader(path).tensors, strict=True):
            if tensor.kind != I2_S:
                same = np.array_equal(self.bytes(tensor), np.asarray(other.data).reshape(-1).view(np.uint8))
            else:
                codes, scale = self.codes(tensor)
                expected = (codes.reshape(tensor.shape).astype(np.float32) - 1) * scale.astype(np.float32)
                same = np.array_equal(gguf.quants.dequantize(other.data, other.tensor_type), expected)
                checked += tensor.count()
            if tensor.name != other.name or not same:
                raise ValueError(f"{path}: {other.name} has other values than {tensor.name} of {self.reader.path}")
        return checked


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, TypeError, ValueError) as error:
        sys.exit(f"convert.py: {error}")
