"""The engines that are compared: what each reads, and how one repetition of it is run."""

import json
import subprocess
from dataclasses import dataclass

from gguf_file import I2_S, TYPES, Reader
from install import HERE, Failed, environment, last_line

# Numbers of threads that the libraries under the engines would choose for themselves.
THREAD_VARIABLES = ["RAYON_NUM_THREADS", "OMP_NUM_THREADS"]


@dataclass(frozen=True)
class Engine:
    """An engine with one type of weights. `type` is what convert.py writes; tritforge reads the synthetic file itself."""

    key: str
    family: str
    type: str


OURS = Engine("tritforge", "tritforge", "I2_S")
ENGINES = [
    OURS,
    Engine("llama-tq2_0", "llama.cpp", "TQ2_0"),
    Engine("llama-tq1_0", "llama.cpp", "TQ1_0"),
    Engine("candle-q2_k", "candle", "Q2_K"),
    Engine("candle-q4_k", "candle", "Q4_K"),
]


@dataclass(frozen=True)
class Test:
    """What every engine does: a prompt, and so many tokens after so many positions."""

    prompt: int
    decode: int
    depth: int


class Runner:
    """Runs engines one repetition at a time, each in a process of its own."""

    def __init__(self, tools, under):
        self.tools = tools
        self.under = under

    def repetition(self, engine, file, threads, test):
        """Tokens a second: `prefill` and `decode`; from tritforge also its report."""
        numbers = [str(number) for number in (test.prompt, test.decode, test.depth)]
        if engine.family == "llama.cpp":
            return json.loads(self.run([self.tools.python, HERE / "llama_lane.py", file, threads, *numbers], threads))
        if engine.family == "candle":
            return json.loads(self.run([self.tools.candle, file, *numbers], threads))
        report = self.bench(file, threads, test, 1)
        speed = {test["kind"]: test["tokens_per_second"]["median"] for test in report["tests"]}
        return {"prefill": speed["prefill"], "decode": speed["decode"], "report": report}

    def probe(self, file, threads):
        """Bytes a second that so many threads read, and the instruction set in use."""
        report = self.bench(file, threads, Test(1, 1, 0), 3)
        return {"bytes_per_second": report["probes"][0]["bandwidth"]["median"], "isa": report["isa"]}

    def bench(self, file, threads, test, repetitions):
        """The report of `tritforge bench`, with the head as it is stored."""
        command = [self.tools.tritforge, "bench", file, "-t", threads, "-p", test.prompt, "-n", test.decode]
        command += ["-d", test.depth, "-r", repetitions, "--json", "--head", "stored"]
        return json.loads(self.run(command, threads))

    def run(self, command, threads):
        """Runs a measurement; returns what it printed."""
        command = [*self.under, *(str(part) for part in command)]
        variables = dict.fromkeys(THREAD_VARIABLES, str(threads))
        done = subprocess.run(command, capture_output=True, text=True, env=environment(variables))
        if done.returncode != 0:
            raise Failed(f"{command[len(self.under)]} failed: {last_line(done.stderr)}")
        return done.stdout


def stored(file):
    """Types of the ternary matrices in a file that convert.py wrote or that `synth` did, and their bits a weight."""
    types, bits, weights = [], 0, 0
    names = {kind: name for name, kind in TYPES.items()} | {I2_S: "I2_S"}
    for tensor in Reader(file).tensors:
        if tensor.kind in names:
            types += [names[tensor.kind]] if names[tensor.kind] not in types else []
            bits += 8 * tensor.nbytes()
            weights += tensor.count()
    return " and ".join(types), bits / weights
