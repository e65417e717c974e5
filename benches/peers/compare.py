#!/usr/bin/env python3
"""Compares `tritforge bench` with engines that the ordinary package registries have, on the same weights.

    python3 benches/peers/compare.py

Everything that it builds, installs and writes lies in the folder `--work`, except tritforge's own build. The engines take
turns, each repetition in a process of its own; a probe of the machine comes before and after each number of threads. It
prints Markdown tables, and writes a JSON file:

    version     1
    cpu         the processor's name
    date        UTC, to the second
    commit      of tritforge, with `+` where files differ from it
    command     the arguments
    versions    of the peers
    head, prompt, decode, depth, repetitions
    cells       a list, of each model and number of threads:
        model, threads, isa
        probe   bytes a second read from memory: `before`, `after`
        engines by key: `type`, `bits_per_weight` (of the ternary matrices), and `prefill` and `decode` in tokens a second
                as `median`, `min`, `max`; or an `error` instead, of an engine that could not be installed or run
"""

import argparse
import datetime
import json
import platform
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

from engines import ENGINES, OURS, Runner, Test, stored
from install import ROOT, Failed, Tools, note
from report import tables

VERSION = 1
CONFIGS = ROOT / "configs/models"
MODELS = ["bitnet-b1.58-large", "bitnet-b1.58-2b-4t"]
# What is small: the probe's model, and that of `--quick`.
SMALL = "demo"


def main():
    """The command."""
    options = arguments()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    chosen = [engine for engine in ENGINES if engine.key in options.engines]
    tools = Tools(work, {engine.family for engine in chosen})
    result = {
        "version": VERSION,
        "cpu": cpu_name(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "command": shlex.join(sys.argv[1:]),
        "versions": tools.versions,
        "head": "f16",
        "prompt": options.test.prompt,
        "decode": options.test.decode,
        "depth": options.test.depth,
        "repetitions": options.repetitions,
        "cells": [],
    }
    comparison = Comparison(tools, Runner(tools, options.under), chosen, options)
    for cell in (cell for model in options.models for cell in comparison.cells(model)):
        result["cells"].append(cell)
        # After each, so that a run that is cut off leaves what it has.
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(tables(result))


def arguments():
    """The command line."""
    keys = [engine.key for engine in ENGINES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=names, default=MODELS, help="configs in configs/models, separated by commas")
    parser.add_argument("--engines", type=names, default=keys, help=f"some of {','.join(keys)}")
    parser.add_argument("--threads", type=counts, default=[1, 2], help="numbers of threads, separated by commas")
    parser.add_argument("-p", "--prompt", type=count, default=512, help="tokens of the prompt")
    parser.add_argument("-n", "--decode", type=count, default=32, help="tokens decoded")
    parser.add_argument("-d", "--depth", type=count, default=128, help="positions before the first of these")
    parser.add_argument("-r", "--repetitions", type=count, default=3, help="repetitions of everything")
    parser.add_argument("--work", type=Path, default=ROOT / "target/peers", help="folder for all that is made")
    parser.add_argument("--json", type=Path, help="result file; peers.json in the folder if left out")
    parser.add_argument("--under", type=shlex.split, default=[], help="command before each measurement, such as 'taskset -c 0,1'")
    parser.add_argument("--quick", action="store_true", help="tiny shapes and few tokens: does everything work here?")
    options = parser.parse_args()
    if options.quick:
        options.models, options.prompt, options.decode, options.depth, options.repetitions = [SMALL], 32, 8, 8, 1
    for key in set(options.engines) - set(keys):
        parser.error(f"there is no engine {key}; there are {', '.join(keys)}")
    for model in options.models:
        if not config(model).exists():
            parser.error(f"there is no {config(model)}")
    options.json = options.json or options.work / "peers.json"
    options.test = Test(options.prompt, options.decode, options.depth)
    return options


def names(text):
    """Names, separated by commas."""
    return [part.strip() for part in text.split(",")]


def count(text):
    """A number above zero."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def counts(text):
    """Numbers above zero, separated by commas."""
    return [count(part) for part in text.split(",")]


def config(model):
    """The file of a model's shapes."""
    return CONFIGS / f"{model}.toml"


class Comparison:
    """Engines on their way through models and numbers of threads."""

    def __init__(self, tools, runner, engines, options):
        self.tools, self.runner, self.engines, self.options = tools, runner, engines, options
        self.probe_file = self.synthetic(SMALL)

    def cells(self, model):
        """Yields the results of a model, one for each number of threads."""
        files, errors = {}, {}
        for engine in self.engines:
            try:
                files[engine] = self.file(model, engine)
            except Failed as error:
                errors[engine] = str(error)
        for threads in self.options.threads:
            yield self.cell(model, files, dict(errors), threads)

    def cell(self, model, files, errors, threads):
        """The results of a model on so many threads; the engines take turns, and another begins each time."""
        samples = {engine: [] for engine in files}
        before = self.runner.probe(self.probe_file, threads)
        for repetition in range(self.options.repetitions):
            note(f"{model}, {threads} threads, repetition {repetition + 1} of {self.options.repetitions}")
            first = repetition % len(self.engines)
            for engine in self.engines[first:] + self.engines[:first]:
                if engine in errors:
                    continue
                try:
                    samples[engine].append(self.runner.repetition(engine, files[engine], threads, self.options.test))
                except Failed as error:
                    errors[engine] = str(error)
        after = self.runner.probe(self.probe_file, threads)
        return {
            "model": model,
            "threads": threads,
            "isa": before["isa"],
            "probe": {"before": before["bytes_per_second"], "after": after["bytes_per_second"]},
            "engines": {
                engine.key: {"error": errors[engine]} if engine in errors else summary(files[engine], samples[engine])
                for engine in self.engines
            },
        }

    def file(self, model, engine):
        """The weights in the engine's type, made unless they are there."""
        if engine.family in self.tools.errors:
            raise Failed(self.tools.errors[engine.family])
        source = self.synthetic(model)
        if engine == OURS:
            return source
        out = self.tools.work / f"{model}-{engine.type.lower()}.gguf"
        if not out.exists():
            note(f"converting {model} to {engine.type}")
            self.tools.run([self.tools.python, Path(__file__).with_name("convert.py"), source, engine.type, out])
        return out

    def synthetic(self, model):
        """The synthetic model, made unless it is there."""
        out = self.tools.work / f"{model}.gguf"
        if not out.exists():
            self.tools.run([self.tools.tritforge, "synth", config(model), out])
        return out


def summary(file, samples):
    """An engine's entry in a cell."""
    types, bits = stored(file)
    entry = {"type": types, "bits_per_weight": round(bits, 4)}
    for kind in ("prefill", "decode"):
        speeds = [sample[kind] for sample in samples]
        entry[kind] = {"median": statistics.median(speeds), "min": min(speeds), "max": max(speeds)}
    return entry


def cpu_name():
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def commit():
    """The commit of this checkout, with `+` where files differ from it."""
    done = subprocess.run(["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    try:
        main()
    except (OSError, Failed) as error:
        sys.exit(f"compare.py: {error}")
