"""Builds what is compared. Everything but tritforge itself goes into the work folder."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CONVERTER = ["numpy", "gguf"]
LLAMA = "llama-cpp-python"
# llama.cpp's kernels are chosen when it is compiled: for all that this CPU has.
LLAMA_CMAKE = "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF"


class Failed(Exception):
    """A command that failed; the text says which, and ends with the last line that it printed."""


class Tools:
    """Where the programs lie, and why a family of peers (`llama.cpp`, `candle`) is not there."""

    def __init__(self, work, families):
        self.work = work
        self.log = work / "install.log"
        self.log.write_text("")
        self.python = work / "venv/bin/python"
        self.candle = work / "candle/release/candle-lane"
        self.errors = {}
        self.versions = {}
        self.tritforge = self.build_tritforge()
        for family, install in [("llama.cpp", self.install_llama), ("candle", self.build_candle)]:
            if family in families:
                try:
                    self.install_converter()
                    self.versions[family] = install()
                except (OSError, Failed) as error:
                    self.errors[family] = f"cannot be installed: {error}"

    def build_tritforge(self):
        """Builds tritforge; returns the command's path."""
        note("building tritforge")
        self.run(["cargo", "build", "--release", "--locked", "-p", "tritforge"], cwd=ROOT)
        metadata = self.run(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT)
        return Path(json.loads(metadata)["target_directory"]) / "release/tritforge"

    def install_converter(self):
        """Makes the folder of Python packages with what the conversion needs."""
        if not self.python.exists():
            note("making a Python environment")
            venv.create(self.work / "venv", with_pip=True)
        self.install_packages(CONVERTER, {})

    def install_llama(self):
        """Compiles llama.cpp; returns its version. What pip has compiled before may have been for another CPU."""
        self.install_packages([LLAMA], {"CMAKE_ARGS": LLAMA_CMAKE, "PIP_NO_CACHE_DIR": "1"})
        return f"{LLAMA} {self.pinned(LLAMA)}"

    def install_packages(self, names, variables):
        """Installs the versions that requirements.txt names, unless they are there."""
        wanted = [f"{name}=={self.pinned(name)}" for name in names]
        note(f"installing {', '.join(wanted)}")
        self.run([self.python, "-m", "pip", "install", *wanted], variables)

    def pinned(self, name):
        """The version of a package that requirements.txt names."""
        lines = (HERE / "requirements.txt").read_text().split()
        return dict(line.split("==") for line in lines)[name]

    def build_candle(self):
        """Builds the candle lane for this CPU; returns candle's version."""
        note("building the candle lane")
        command = ["cargo", "build", "--release", "--locked", "--target-dir", self.work / "candle"]
        self.run(command, {"RUSTFLAGS": "-C target-cpu=native"}, cwd=HERE / "candle")
        tree = self.run(["cargo", "tree", "--locked", "--prefix", "none", "--depth", "1"], cwd=HERE / "candle")
        (version,) = (line.split()[1] for line in tree.splitlines() if line.startswith("candle-core "))
        return f"candle-core {version.removeprefix('v')}"

    def run(self, command, variables=None, cwd=None):
        """Runs a command, logged; returns what it printed."""
        command = [str(part) for part in command]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(variables), cwd=cwd)
        with open(self.log, "a") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}")
        if done.returncode != 0:
            raise Failed(f"{command[0]} failed, see {self.log}: {last_line(done.stderr)}")
        return done.stdout


def last_line(text):
    """The last line that is not empty."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")


def environment(variables=None):
    """The variables of this process without those that choose kernels of a BLAS, and with `variables`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    return kept | (variables or {})


def note(text):
    """Says what takes time."""
    print(f"# {text}", file=sys.stderr, flush=True)
