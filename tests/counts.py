#!/usr/bin/env python3
"""Counts the instructions of the hot pure parts, where a timing would hide a regression in noise.

The cases are those of the benchmarks. A count is of instructions per element: dropping what was
made is in it, making what goes in is not. One that is more than 10 % above that of tests/counts.txt
is a failure, one that is 10 % below is pointed out. Another compiler or libc makes other
instructions of the same source: then differences are shown and no count is a failure.

  tests/counts.py            compares
  tests/counts.py --accept   records what is counted now; commit the file with the reason
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests/counts.txt"
BENCHES = [
    ("gimlet-core", "hub"),
    ("gimlet-record", "record"),
    ("gimlet-transport", "encode"),
    ("gimlet-transport-tcp", "frame"),
]
# By how much a count may be off, as a share of the recorded one.
SLACK = 0.10
HEADER = "# Instructions per element: tests/counts.py compares, tests/counts.py --accept writes."
# The plainest of libc's variants of memcpy and memcmp, whatever the processor could do.
PLAIN = "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-SSSE3,-SSE4_1"


def toolchain():
    """What, besides the source, decides on the instructions."""
    rustc = subprocess.run(["rustc", "-V"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    version = " ".join(rustc.stdout.split()[:2])
    return ", ".join([version, " ".join(platform.libc_ver()), platform.machine()])


def programs():
    """Builds the benchmarks; where they are, in the order of the list."""
    command = ["cargo", "build", "--locked", "--profile", "counts"]
    for package, bench in BENCHES:
        command += ["--package", package, "--bench", bench]
    command += ["--message-format", "json-render-diagnostics"]
    env = {**os.environ, "RUSTFLAGS": ""}
    built = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        sys.exit("the benchmarks do not build")
    messages = map(json.loads, built.stdout.splitlines())
    found = {message["target"]["name"]: message["executable"]
             for message in messages if message.get("executable")}
    return [found[bench] for _, bench in BENCHES]


def count(program):
    """{case: instructions per element} of one program, all cases in one run."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--quiet", "--tool=callgrind",
                   "--callgrind-out-file=%s/sum" % folder,
                   "--toggle-collect=gimlet_bench::measured*", "--dump-before=gimlet_bench::mark*",
                   program, "--count"]
        env = {**os.environ, "GLIBC_TUNABLES": PLAIN}
        run = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
        if run.returncode:
            sys.exit("%s fails under valgrind" % program)
        found = {}
        for number, line in enumerate(run.stdout.splitlines(), 1):
            case, elements = line.split("\t")
            # Every case ends two sums: what came before its rounds, and its rounds.
            text = Path(folder, "sum.%d" % (2 * number)).read_text(encoding="utf-8")
            instructions = int(re.search(r"^totals: (\d+)", text, re.MULTILINE)[1])
            if not instructions:
                sys.exit("%s: valgrind did not see the function that is measured" % case)
            found[case] = round(instructions / int(elements), 1)
        return found


def read():
    """The toolchain of the recorded counts, and {case: count}."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = (line.split(maxsplit=1) for line in lines if not line.startswith("#"))
    return lines[1].lstrip("# "), {case: float(number) for number, case in rows}


def write(counts):
    rows = ["%8.1f  %s" % (number, case) for case, number in counts.items()]
    text = "\n".join([HEADER, "# " + toolchain(), *rows, ""])
    TABLE.write_text(text, encoding="utf-8")


def compare(recorded, counts):
    """Prints both; returns what the table lacks or has too much, and which counts are too high."""
    strange = ["%s: recorded, but there is no such case" % case
               for case in recorded if case not in counts]
    high = []
    print("%8s %9s  case" % ("now", "recorded"))
    for case, now in counts.items():
        was = recorded.get(case)
        if was is None:
            print("%8.1f %9s  %s" % (now, "-", case))
            strange.append("%s: %.1f instructions per element, none recorded" % (case, now))
            continue
        change = now / was - 1
        note = "  (--accept keeps it so)" if change < -SLACK else ""
        print("%8.1f %9.1f  %s: %+.1f %%%s" % (now, was, case, 100 * change, note))
        if change > SLACK:
            high.append("%s: %.1f instructions per element; recorded are %.1f, %.1f would pass"
                        % (case, now, was, was * (1 + SLACK)))
    return strange, high


def main():
    if sys.argv[1:] not in ([], ["--accept"]):
        print(__doc__)
        return 64
    if not shutil.which("valgrind"):
        print("valgrind is missing: instructions are not counted, this check is passed over")
        return 0
    counts = {}
    for program in programs():
        counts.update(count(program))
    if sys.argv[1:]:
        write(counts)
        print("%d counts recorded in %s" % (len(counts), TABLE.relative_to(ROOT)))
        return 0
    made_with, recorded = read()
    strange, high = compare(recorded, counts)
    for line in strange + high:
        print(line)
    if made_with != toolchain():
        print("recorded with %s, this is %s: no count is held against the source"
              % (made_with, toolchain()))
        high = []
    if strange or high:
        print("if that is wanted: tests/counts.py --accept records it, and the commit says why")
    return 1 if strange or high else 0


if __name__ == "__main__":
    sys.exit(main())
