"""Times llama.cpp on a GGUF file that convert.py wrote: one prefill and one run of decoded tokens.

    python llama_lane.py FILE THREADS PROMPT DECODE DEPTH

prints `{"prefill": tokens/s, "decode": tokens/s}`. With `--logits OUT.safetensors` in place of the numbers it writes the
logits of a few tokens, as `tritforge verify --reference` reads them:

    python llama_lane.py FILE --logits OUT.safetensors
"""

import ctypes
import json
import struct
import sys
import time

import llama_cpp
import numpy as np

# Most tokens of a prompt that are processed at once.
BATCH = 512
# Tokens of the untimed prompt that comes first.
WARM_UP = 16
# Tokens whose logits are written.
COMPARED = 8


class Sequence:
    """A model with one sequence of tokens."""

    def __init__(self, path, threads, positions):
        silence()
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise ValueError(f"llama.cpp cannot load {path}")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = positions
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.context:
            raise ValueError(f"llama.cpp makes no context for {path}")
        self.vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))

    def forget(self):
        """Empties the sequence."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def feed(self, tokens):
        """Appends tokens; returns the most likely next one."""
        for start in range(0, len(tokens), BATCH):
            part = tokens[start : start + BATCH]
            ids = (llama_cpp.llama_token * len(part))(*part)
            status = llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(ids, len(part)))
            if status != 0:
                raise ValueError(f"llama_decode returned {status}")
        return int(self.logits().argmax())

    def logits(self):
        """The logits of the last token."""
        pointer = llama_cpp.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(pointer, (self.vocab,))

    def tokens(self, count):
        """Token ids that look random, the same in every run."""
        state, ids = 1, []
        for _ in range(count):
            state = (state * 1103515245 + 12345) % 2**31
            ids.append((state >> 8) % self.vocab)
        return ids


@llama_cpp.llama_log_callback
def ignored(_level, _text, _data):
    """What llama.cpp reports is not for the reader of the table."""


def silence():
    """Keeps llama.cpp from logging."""
    llama_cpp.llama_log_set(ignored, ctypes.c_void_p(0))


def timed(path, threads, prompt, decode, depth):
    """Tokens a second of both tests."""
    sequence = Sequence(path, threads, max(prompt, depth + decode, WARM_UP + 1))
    sequence.feed([sequence.feed(sequence.tokens(WARM_UP))])

    sequence.forget()
    start = time.perf_counter()
    following = sequence.feed(sequence.tokens(prompt))
    prefill = prompt / (time.perf_counter() - start)

    sequence.forget()
    if depth > 0:
        following = sequence.feed(sequence.tokens(depth))
    start = time.perf_counter()
    for _ in range(decode):
        following = sequence.feed([following])
    return {"prefill": prefill, "decode": decode / (time.perf_counter() - start)}


def write_logits(path, out):
    """Writes the logits of a few tokens to the safetensors file `out`."""
    sequence = Sequence(path, 1, COMPARED)
    ids, rows = sequence.tokens(COMPARED), []
    for token in ids:
        sequence.feed([token])
        rows.append(sequence.logits().copy())
    parts = {"input_ids": ("I64", np.array(ids, np.int64)), "logits": ("F32", np.array(rows, np.float32))}
    header, data = {}, b""
    for name, (dtype, values) in parts.items():
        encoded = values.tobytes()
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [len(data), len(data) + len(encoded)]}
        data += encoded
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(out, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main(path, *arguments):
    """Runs what the arguments ask for."""
    if arguments[0] == "--logits":
        write_logits(path, *arguments[1:])
    else:
        print(json.dumps(timed(path, *map(int, arguments))))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (IndexError, OSError, TypeError, ValueError) as error:
        sys.exit(f"llama_lane.py: {error}")
