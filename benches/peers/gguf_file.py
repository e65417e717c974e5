"""GGUF files, as far as the conversion needs them: read a header, copy its values, write another file.

The `gguf` package refuses files with I2_S tensors, so this module reads them itself.
"""

import struct

ALIGNMENT = 32
MAGIC = b"GGUF"
VERSION = 3

# Ids of value types, and the formats of those of fixed size.
U32, STRING, ARRAY = 4, 8, 9
FIXED = {0: "B", 1: "b", 2: "H", 3: "h", U32: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}

# Ids of tensor types, and the bytes of a block of so many weights.
F32, F16, I2_S = 0, 1, 36
TYPES = {"Q4_0": 2, "Q2_K": 10, "Q4_K": 12, "TQ1_0": 34, "TQ2_0": 35}
BLOCKS = {F32: (1, 4), F16: (1, 2), 2: (32, 18), 10: (256, 84), 12: (256, 144), 34: (256, 54), 35: (256, 66)}


class Tensor:
    """Name, shape (outermost dimension first), type id and offset in the data."""

    def __init__(self, name, shape, kind, offset):
        self.name, self.shape, self.kind, self.offset = name, shape, kind, offset

    def count(self):
        """Number of weights."""
        product = 1
        for length in self.shape:
            product *= length
        return product

    def nbytes(self):
        """Size in the file, without padding."""
        if self.kind == I2_S:
            return self.count() // 4 + 32
        weights, size = BLOCKS[self.kind]
        return self.count() // weights * size


class Reader:
    """The header of a GGUF file: `values` (key to type id and encoded value), `tensors`, and where the data starts."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self._file = file
            magic = file.read(4)
            version, tensors, values = self._unpack("IQQ")
            if magic != MAGIC or version != VERSION:
                raise ValueError(f"{path} is no GGUF file of version {VERSION}")
            self.values = dict(self._value() for _ in range(values))
            self.tensors = [self._tensor() for _ in range(tensors)]
            self.data_at = padded(file.tell())
        del self._file

    def text(self, key):
        """The string under `key`."""
        kind, encoded = self.values[key]
        if kind != STRING:
            raise ValueError(f"{key} of {self.path} is no string")
        return encoded[8:].decode()

    def number(self, key):
        """The u32 under `key`."""
        kind, encoded = self.values[key]
        if kind != U32:
            raise ValueError(f"{key} of {self.path} is no u32")
        return struct.unpack("<I", encoded)[0]

    def _unpack(self, layout):
        layout = "<" + layout
        return struct.unpack(layout, self._file.read(struct.calcsize(layout)))

    def _string(self):
        (length,) = self._unpack("Q")
        return self._file.read(length)

    def _value(self):
        key = self._string().decode()
        (kind,) = self._unpack("I")
        start = self._file.tell()
        self._skip(kind)
        end = self._file.tell()
        self._file.seek(start)
        return key, (kind, self._file.read(end - start))

    def _skip(self, kind):
        if kind == STRING:
            self._string()
        elif kind == ARRAY:
            element, count = self._unpack("IQ")
            if element in FIXED:
                self._file.seek(count * struct.calcsize(FIXED[element]), 1)
            else:
                for _ in range(count):
                    self._skip(element)
        elif kind in FIXED:
            self._unpack(FIXED[kind])
        else:
            raise ValueError(f"{self.path} has a value of the unknown type {kind}")

    def _tensor(self):
        name = self._string().decode()
        (dimensions,) = self._unpack("I")
        shape = self._unpack(f"{dimensions}Q")[::-1]
        return Tensor(name, shape, *self._unpack("IQ"))


def write(path, values, tensors, encode):
    """Writes a file of `values` and `tensors`, whose offsets are set here; `encode(index)` returns the bytes of one."""
    offset = 0
    for tensor in tensors:
        tensor.offset = offset
        offset += padded(tensor.nbytes())
    with open(path, "wb") as file:
        file.write(MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(values)))
        for key, (kind, encoded) in values.items():
            file.write(string(key) + struct.pack("<I", kind) + encoded)
        for tensor in tensors:
            shape = tensor.shape[::-1]
            file.write(string(tensor.name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
            file.write(struct.pack("<IQ", tensor.kind, tensor.offset))
        pad(file)
        for index, tensor in enumerate(tensors):
            data = encode(index)
            if len(data) != tensor.nbytes():
                raise ValueError(f"{tensor.name} has {len(data)} bytes, not {tensor.nbytes()}")
            file.write(data)
            pad(file)


def string(text):
    """A string as GGUF encodes it."""
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def padded(length):
    """`length`, rounded up to the alignment."""
    return -(-length // ALIGNMENT) * ALIGNMENT


def pad(file):
    """Pads `file` with zeros to the alignment."""
    file.write(bytes(padded(file.tell()) - file.tell()))
